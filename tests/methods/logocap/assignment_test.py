import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.logocap import expansion
from logocap_jax.methods.logocap.assignment import assign, best_of_mesh
from logocap_jax.oks import keypoint_similarity
from logocap_jax.skeletons import COCO
from tests.reference import assignment as reference

SLOTS, EXTENT, PEOPLE = 5, 5, 4
SIGMAS = COCO.sigma_array
OFFSETS = expansion.mesh_offsets(SIGMAS, size=EXTENT)


@pytest.fixture(scope="module")
def assign_jitted():
    return jax.jit(assign)


def _scene(seed):
    """Slots near people, one far from all; person 2 has no visible keypoint."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 100, (PEOPLE, 1, 2)) + rng.uniform(
        -30, 30, (PEOPLE, 17, 2)
    )
    nearest = rng.integers(0, PEOPLE, SLOTS)
    noise = rng.normal(0, rng.uniform(1, 12, (SLOTS, 1, 1)), (SLOTS, 17, 2))
    initial = keypoints[nearest] + noise
    initial[-1] += 1e3
    visible = rng.uniform(size=(PEOPLE, 17)) < 0.7
    visible[2] = False
    area = rng.uniform(1000, 5000, PEOPLE)
    mesh = initial[:, None, None] + OFFSETS
    arrays = (x.astype(np.float32) for x in (mesh, keypoints, area))
    mesh, keypoints, area = arrays
    return mesh, keypoints, visible, area, SIGMAS


@pytest.mark.parametrize("seed", range(4))
def test_assignment_is_that_of_the_loop(seed, assign_jitted):
    scene = _scene(seed)
    expected = reference.assign(*scene)
    found = assign_jitted(*scene)
    np.testing.assert_array_equal(found.matched, expected["matched"])
    for name in ("kam", "slot_oks", "gain"):
        np.testing.assert_allclose(getattr(found, name), expected[name], atol=1e-5)
    np.testing.assert_array_equal(found.keypoints, scene[1][expected["person"]])
    np.testing.assert_array_equal(found.visible, scene[2][expected["person"]])


def test_random_scenes_have_slots_with_and_without_a_match():
    matched = np.stack([reference.assign(*_scene(s))["matched"] for s in range(4)])
    assert 0.2 < matched.mean() < 0.8


def test_person_is_the_one_reached_keypoint_by_keypoint():
    # Person 0 fits whole at the mesh's centre; every keypoint of person 1 lies on a
    # mesh position of its own, so that each alone is reached perfectly.
    initial = np.zeros((1, 17, 2), np.float32)
    mesh = initial[:, None, None] + OFFSETS
    corner = np.where(np.arange(17)[:, None] % 2, OFFSETS[0, 0], OFFSETS[-1, -1])
    keypoints = np.stack([initial[0] + 0.3, corner]).astype(np.float32)
    area = np.full(2, 400.0, np.float32)
    arrays = map(jnp.asarray, (mesh, keypoints, np.ones((2, 17), bool), area, SIGMAS))
    found = assign(*arrays)
    np.testing.assert_array_equal(found.keypoints[0], corner)
    assert found.slot_oks[0] < 0.95


def test_keypoints_that_are_not_visible_do_not_count(assign_jitted):
    mesh, keypoints, visible, area, sigmas = _scene(0)
    hidden = np.where(visible[..., None], keypoints, 1e6).astype(np.float32)
    found = assign_jitted(mesh, hidden, visible, area, sigmas)
    expected = assign_jitted(mesh, keypoints, visible, area, sigmas)
    for name in ("kam", "slot_oks", "matched", "gain"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert not np.asarray(found.kam)[:, :, :, ~np.any(visible, axis=0)].any()


def test_no_visible_person_matches_no_slot(assign_jitted):
    mesh, keypoints, visible, area, sigmas = _scene(0)
    found = assign_jitted(mesh, keypoints, np.zeros_like(visible), area, sigmas)
    assert not np.any(found.matched)
    np.testing.assert_array_equal(found.gain, 0)
    np.testing.assert_array_equal(found.slot_oks, 0)


def test_padded_people_change_nothing(assign_jitted):
    mesh, keypoints, visible, area, sigmas = _scene(1)
    visible[2:] = False
    padded = assign_jitted(mesh, keypoints, visible, area, sigmas)
    arrays = map(jnp.asarray, (mesh, keypoints[:2], visible[:2], area[:2], sigmas))
    alone = assign(*arrays)
    for name in ("kam", "slot_oks", "matched", "gain", "visible"):
        np.testing.assert_allclose(
            getattr(padded, name), getattr(alone, name), atol=1e-6
        )


@pytest.mark.parametrize("seed", range(4))
def test_best_of_mesh_is_that_of_brute_force(seed, assign_jitted):
    scene = _scene(seed)
    mesh, keypoints, visible, area, _ = scene
    found = np.asarray(best_of_mesh(jnp.asarray(mesh), assign_jitted(*scene)))
    expected = reference.assign(*scene)
    oks = reference.all_similarities(*scene)
    center = EXTENT // 2
    for n, k in np.ndindex(SLOTS, 17):
        person = expected["person"][n]
        if not visible[person, k]:
            np.testing.assert_array_equal(found[n, k], mesh[n, center, center, k])
            continue
        similarity = reference.similarity(
            found[n, k], keypoints[person, k], area[person], SIGMAS[k]
        )
        assert similarity == pytest.approx(oks[n, :, :, person, k].max(), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_best_of_mesh_is_never_less_similar_than_the_initial_keypoint(
    seed, assign_jitted
):
    scene = _scene(seed)
    mesh, _, _, _, sigmas = map(jnp.asarray, scene)
    truth = assign_jitted(*scene)
    best = best_of_mesh(mesh, truth)
    area = jnp.asarray(2000.0)
    compare = jax.vmap(keypoint_similarity, in_axes=(0, 0, None, None))
    before = compare(mesh[:, EXTENT // 2, EXTENT // 2], truth.keypoints, area, sigmas)
    after = compare(best, truth.keypoints, area, sigmas)
    assert np.all(np.asarray(after >= before - 1e-6)[np.asarray(truth.visible)])
