import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.initial_poses import InitialPoses, InitialPosesConfig
from logocap_jax.structures import DenseMaps
from tests.reference import sampling
from tests.reference import targets as reference

CELLS = 16
CONFIG = InitialPosesConfig(num_slots=6)


def test_images_are_normalised_by_imagenets_mean_and_deviation():
    image = jnp.asarray([[[[0, 128, 255]]]], jnp.uint8)
    expected = (np.array([0, 128, 255]) / 255 - [0.485, 0.456, 0.406]) / [
        *(0.229, 0.224, 0.225),
    ]
    np.testing.assert_allclose(
        initial_poses.normalise(image)[0, 0, 0], expected, rtol=1e-5
    )


def _targets(batch, image=0):
    example = jax.tree.map(lambda array: array[image], batch)
    return dense_loss.dense_targets(example, CONFIG)


@pytest.mark.parametrize("mirrored", [False, True])
def test_targets_of_an_image_are_those_of_the_loop(case, mirrored):
    batch = case.with_batch(mirrored=jnp.full(2, mirrored)).batch
    keypoints = np.asarray(batch.keypoints[0]) / 4 - [0.75 * mirrored, 0]
    centers = keypoints.mean(axis=1)  # everybody is labelled whole
    labelled = np.asarray(batch.labelled[0])
    has_center = np.asarray(batch.has_center[0])
    points = np.concatenate([keypoints, centers[:, None]], axis=1)
    exists = np.concatenate([labelled, has_center[:, None]], axis=1)
    sigmas = (2.0,) * 17 + (4.0,)
    heat = reference.heatmaps(points, exists, CELLS, CELLS, sigmas, 0.1)
    area = np.asarray(batch.area[0])
    off = reference.offsets(
        keypoints, labelled, centers, has_center, area, CELLS, CELLS, 4
    )
    heat = (heat[0], heat[1].max(axis=-1, keepdims=True))
    for found, expected in zip(_targets(batch), (*heat, *off), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_center_is_the_mean_of_the_labelled_keypoints(case):
    labelled = case.batch.labelled.at[0, 0, 3:].set(False).at[0, 1].set(False)
    batch = case.with_batch(
        labelled=labelled,
        person=case.batch.person.at[0, 1].set(False),
        has_center=case.batch.has_center.at[0, 1].set(False),
    ).batch
    heat, *_ = _targets(batch)
    center = np.asarray(batch.keypoints[0, 0, :3]).mean(axis=0) / 4
    y, x = np.unravel_index(np.argmax(heat[..., -1]), (CELLS, CELLS))
    np.testing.assert_allclose([x, y], center, atol=0.5)


def test_small_people_have_keypoints_but_no_center(case):
    batch = case.with_batch(has_center=jnp.zeros((2, 4), bool)).batch
    heat, _, _, off_weight = _targets(batch)
    assert np.all(np.asarray(heat[..., :-1]).max(axis=(0, 1)) > 0)
    np.testing.assert_array_equal(heat[..., -1], 0)
    np.testing.assert_array_equal(off_weight, 0)


def _dense_losses(maps, batch):
    return jax.jit(lambda m, b: dense_loss.dense_losses(m, b, CONFIG))(maps, batch)


@pytest.fixture
def maps():
    rng = np.random.default_rng(2)

    def draw(*shape):
        return jnp.asarray(rng.normal(0, 0.5, (2, CELLS, CELLS, *shape)), jnp.float32)

    return DenseMaps(draw(18), draw(17, 2), draw(0))


def test_losses_are_the_weighted_means_of_the_specification(case, maps):
    mask = np.ones((2, CELLS, CELLS), np.uint8)
    mask[0, :5] = 0
    batch = case.with_batch(masks={**case.batch.masks, 4: jnp.asarray(mask)}).batch
    heat_sum = off_sum = count = 0.0
    for i in range(2):
        targets = (np.asarray(x, np.float64) for x in _targets(batch, i))
        heat, heat_weight, off, off_weight = targets
        square = (np.asarray(maps.heatmaps[i]) - heat) ** 2
        heat_sum += (square * heat_weight).sum()
        np.testing.assert_array_equal(heat_weight[mask[i] == 0], 0)
        error = np.abs(np.asarray(maps.offsets[i]) - off)
        smooth = np.where(error < 1 / 9, error**2 * 9 / 2, error - 1 / 18)
        off_sum += (smooth * off_weight[..., None]).sum()
        count += 2 * (off_weight > 0).sum()
    found = _dense_losses(maps, batch)
    assert found["heatmap"] == pytest.approx(heat_sum / (2 * CELLS**2 * 18), rel=1e-5)
    assert found["offset"] == pytest.approx(0.01 * off_sum / count, rel=1e-5)


def test_maps_that_hit_their_targets_have_no_loss(case):
    targets = [_targets(case.batch, i) for i in range(2)]
    heat, _, off, _ = (jnp.stack(arrays) for arrays in zip(*targets, strict=True))
    maps = DenseMaps(heat, off, jnp.zeros((2, CELLS, CELLS, 0)))
    found = _dense_losses(maps, case.batch)
    assert found["heatmap"] == pytest.approx(0, abs=1e-12)
    assert found["offset"] == pytest.approx(0, abs=1e-12)


def test_masked_cells_do_not_count(case, maps):
    batch = case.with_batch(
        masks={**case.batch.masks, 4: case.batch.masks[4].at[:, 4:9, 2:7].set(0)}
    ).batch
    other = DenseMaps(
        maps.heatmaps.at[:, 4:9, 2:7].set(1e3), maps.offsets, maps.embedding
    )
    expected = _dense_losses(maps, batch)["heatmap"].item()
    assert _dense_losses(other, batch)["heatmap"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.row("annotations")
def test_batch_without_people_has_no_offset_loss(case, maps):
    nobody = jnp.zeros((2, 4), bool)
    found = _dense_losses(maps, case.with_batch(person=nobody, has_center=nobody).batch)
    assert found["offset"] == 0
    expected = 0.1 * np.mean(np.square(np.asarray(maps.heatmaps, np.float64)))
    assert found["heatmap"] == pytest.approx(expected, rel=1e-5)


def test_initial_poses_are_found_where_the_targets_put_them(case):
    heat, _, off, _ = _targets(case.batch)
    initial = initial_poses.decode_initial(heat[..., -1], off, CONFIG)
    assert int(initial.valid.sum()) >= 2
    poses, truth = np.asarray(initial.keypoints), np.asarray(case.batch.keypoints[0])
    # Whole keypoints return; those off the map have no offsets to be read.
    on_map = np.all((truth >= 0) & (truth < 64), axis=-1)
    for person in range(2):
        # A cell's target is exact at its point, (4 x, 4 y); pixels of the cell lie up
        # to 3 px beyond, and so do the poses read there.
        error = np.abs(poses - truth[person])[:, on_map[person]].max(axis=(1, 2))
        assert error.min() < 4


def test_score_of_an_initial_pose_is_its_upsampled_heatmaps_times_the_center():
    rng = np.random.default_rng(0)
    heatmaps = rng.uniform(size=(4, 5, 2)).astype(np.float32)
    keypoints = rng.uniform(-3, 20, (3, 2, 2)).astype(np.float32)
    values = np.array([0.9, 0.5, 0.0], np.float32)
    initial = InitialPoses(
        jnp.asarray(keypoints), jnp.asarray(values), jnp.asarray([True, True, True])
    )
    poses = initial_poses.score_initial(initial, jnp.asarray(heatmaps))
    for n in range(3):
        for k in range(2):
            upsampled = sampling.resize_half_pixel(heatmaps[..., k], 4)
            score = sampling.sample(upsampled[..., None], keypoints[n, k])[0]
            np.testing.assert_allclose(
                poses.keypoint_scores[n, k], score * values[n], atol=1e-5
            )
    np.testing.assert_allclose(poses.scores, poses.keypoint_scores.mean(-1), rtol=1e-6)
    assert list(np.asarray(poses.valid)) == [True, True, False]  # a score of 0
