import jax.numpy as jnp
import numpy as np

from logocap_jax.methods.logocap import expansion
from logocap_jax.skeletons import COCO
from tests.reference import sampling


def test_mesh_holds_both_ends_and_widens_with_sigma():
    offsets = expansion.mesh_offsets(np.array([0.025, 0.1], np.float32), size=11)
    assert offsets.shape == (11, 11, 2, 2)
    np.testing.assert_allclose(offsets[0, 10, 0], [5, -5])  # axis 0 runs along y
    np.testing.assert_allclose(offsets[0, 10, 1], [20, -20], rtol=1e-6)
    np.testing.assert_array_equal(offsets[5, 5], 0)
    np.testing.assert_allclose(offsets[7, 4, 0], [-1, 2])


def test_mesh_of_coco_has_whole_steps_at_the_eyes():
    offsets = expansion.mesh_offsets(COCO.sigma_array)
    np.testing.assert_array_equal(
        offsets[:, :, 1, 0], np.tile(np.arange(-5, 6), (11, 1))
    )
    np.testing.assert_allclose(offsets[5, 10, 11], [5 * 0.107 / 0.025, 0], rtol=1e-6)


def test_mesh_lies_around_each_keypoint():
    keypoints = jnp.asarray(np.random.default_rng(0).uniform(0, 60, (3, 17, 2)))
    keypoints = keypoints.astype(jnp.float32)
    offsets = expansion.mesh_offsets(COCO.sigma_array, size=5)
    mesh = expansion.expand(keypoints, offsets)
    assert mesh.shape == (3, 5, 5, 17, 2)
    np.testing.assert_array_equal(mesh[:, 2, 2], keypoints)
    np.testing.assert_allclose(
        mesh[1, 4, 0, 7], keypoints[1, 7] + offsets[4, 0, 7], rtol=1e-6
    )


def test_features_are_sampled_in_cells_and_stacked_keypoint_by_keypoint():
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((8, 9, 3)).astype(np.float32)
    mesh = rng.uniform(-8, 44, (2, 5, 5, 4, 2)).astype(np.float32)
    found = expansion.sample_features(jnp.asarray(embedding), jnp.asarray(mesh))
    expected = sampling.sample_points(embedding, mesh / 4)
    assert found.shape == (2, 5, 5, 12)
    for k in range(4):
        np.testing.assert_allclose(
            found[..., 3 * k : 3 * k + 3], expected[..., k, :], atol=1e-5
        )
