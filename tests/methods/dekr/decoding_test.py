"""Decoding from drawn maps against a plain NumPy oracle (specification, 13)."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO, CROWDPOSE
from tests.reference import pose_map

SLOTS = 6
FAR = 1e3


def oracle(maps, config, size):
    """Poses (keypoints, keypoint scores) of maps by scale, as the text says them."""
    factor = 0.8 if config.skeleton is CROWDPOSE else 0.9
    at_one = pose_map.peaks(
        maps[1.0][0][..., -1], config.num_slots, config.center_threshold
    )
    largest = at_one[0][0] if at_one else 1.0
    poses, centers = [], []
    for scale in sorted(maps, reverse=True):
        heat, pose_of = maps[scale]
        found = pose_map.peaks(heat[..., -1], config.num_slots, config.center_threshold)
        for value, index in found:
            y, x = divmod(index, heat.shape[1])
            poses.append(pose_of[y, x] * 4 / scale)
            other = value / found[0][0] * largest * factor
            centers.append(value if scale == 1 else other)
    fused = np.mean(
        [pose_map.up(maps[s][0], size, 4 / s) for s in sorted(maps, reverse=True)],
        axis=0,
    )
    heats = []
    for pose in poses:
        rows = np.clip(np.floor(pose[:, 1]).astype(int), 0, size[0] - 1)
        columns = np.clip(np.floor(pose[:, 0]).astype(int), 0, size[1] - 1)
        heats.append(fused[rows, columns, np.arange(len(pose))])
    hot = [heat.mean() for heat in heats]
    kept = _nms(poses, hot, config, 0.05 if len(maps) == 1 else 0.15)
    if len(kept) > config.num_slots:
        kept = sorted(kept, key=lambda i: -hot[i])[: config.num_slots]
    return [(poses[i], centers[i] * heats[i]) for i in kept]


def _nms(poses, score, config, closeness):
    least = 7 if config.skeleton is CROWDPOSE else 8
    kept, ignored = [], set()
    for i, pose in enumerate(poses):
        if i in ignored:
            continue
        extent = math.hypot(*(pose.max(axis=0) - pose.min(axis=0)))
        near = [
            j
            for j, other in enumerate(poses)
            if np.sum(np.hypot(*(pose - other).T) < closeness * extent) > least
        ]
        if not near:  # of no extent
            continue
        best = max(near, key=lambda j: (score[j], -j))
        if best not in ignored:
            kept.append(best)
            ignored.update(near)
    return kept


def run(maps, config, *wanted, size=None):
    """Our stages on the same maps; arrays of the one image."""
    given = {
        "heatmaps": jnp.asarray(maps[1.0][0], jnp.float32)[None],
        "pose_map": jnp.asarray(maps[1.0][1], jnp.float32)[None],
        "scaled_maps": tuple(
            tuple(jnp.asarray(x, jnp.float32)[None] for x in maps[scale])
            for scale in config.other_scales
        ),
        "valid_size": None if size is None else jnp.asarray([size], jnp.int32),
    }
    return run_stages(make_stages(config), {}, given, wanted)


def check(maps, config, size, *, valid_size=None, drawn=None):
    """Compare poses, in order, with the oracle's; returns them."""
    poses = run(maps, config, "outputs", size=valid_size)["outputs"]["dekr"]
    expected = oracle(drawn or maps, config, size)
    valid = np.asarray(poses.valid[0])
    assert valid.sum() == len(expected)
    for slot, (points, scores) in zip(np.flatnonzero(valid), expected, strict=True):
        np.testing.assert_allclose(poses.keypoints[0, slot], points, rtol=1e-5)
        found = poses.keypoint_scores[0, slot]
        np.testing.assert_allclose(found, scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(poses.scores[0, slot], scores.mean(), rtol=1e-4)
    return expected


def draw(rng, height, width, skeleton, *, people=4, levels=None):
    """Heatmaps of noise with centres, and poses around each cell's own place."""
    count = skeleton.num_keypoints
    heat = rng.uniform(0.2, 1, (height, width, count + 1))
    heat[..., -1] *= 0.001
    for _ in range(people):
        y, x = rng.integers(0, height), rng.integers(0, width)
        value = rng.uniform(0.02, 1) if levels is None else rng.choice(levels)
        heat[y, x, -1] = value
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    figure = rng.uniform(-4, 4, (count, 2))
    poses = grid[:, :, None] + figure + rng.normal(0, 0.1, (height, width, count, 2))
    return heat.astype(np.float32), poses.astype(np.float32)


def _config(**settings):
    return DekrConfig(num_slots=SLOTS, **settings)


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
def test_poses_are_those_of_the_text(skeleton):
    rng = np.random.default_rng(0)
    for _ in range(3):
        maps = {1.0: draw(rng, 10, 14, skeleton)}
        check(maps, _config(skeleton=skeleton), (40, 56))


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
def test_three_scales_share_one_list(skeleton):
    rng = np.random.default_rng(1)
    config = _config(skeleton=skeleton, test_scales=(0.5, 1.0, 2.0))
    for _ in range(3):
        maps = {s: draw(rng, int(8 * s), int(12 * s), skeleton) for s in (2, 1, 0.5)}
        maps = {float(scale): value for scale, value in maps.items()}
        check(maps, config, (32, 48))


def test_more_poses_than_slots_leave_the_hottest():
    rng = np.random.default_rng(2)
    maps = {float(s): draw(rng, int(16 * s), int(16 * s), COCO) for s in (2, 1)}
    for heat, poses in maps.values():
        heat[..., -1] = 0
        places = np.arange(5)
        heat[3 * places, 2 * places, -1] = 0.9 - 0.1 * places
        poses += rng.uniform(-3, 3, (*poses.shape[:2], 1, 2)) * 4
    config = DekrConfig(num_slots=5, test_scales=(1.0, 2.0), nms_closeness=1e-3)
    found = run(maps, config, "center_valid", "heat", "kept", "valid")
    assert np.asarray(found["center_valid"]).sum() == 10
    assert np.asarray(found["valid"]).all()
    heat = np.asarray(found["heat"][0]).mean(-1)
    assert found["kept"][0].tolist() == np.argsort(-heat)[:5].tolist()


def test_scales_without_centres_add_none_and_lend_no_value():
    rng = np.random.default_rng(3)
    config = _config(test_scales=(1.0, 2.0))
    maps = {float(s): draw(rng, int(8 * s), int(8 * s), COCO) for s in (2, 1)}
    maps[1.0][0][..., -1] = 0
    # Scale 1 has no centre: its largest counts as 1.
    check(maps, config, (32, 32))
    scores = run(maps, config, "center_scores")["center_scores"][0]
    assert np.max(scores) == pytest.approx(0.9)
    maps[2.0][0][..., -1] = 0
    assert not check(maps, config, (32, 32))


def test_all_cells_of_a_flat_top_are_candidates():
    heat, poses = draw(np.random.default_rng(4), 8, 8, COCO, people=0)
    heat[..., -1] = 0
    heat[2:4, 2:4, -1] = 0.5
    heat[6, 6, -1] = 0.7
    found = run({1.0: (heat, poses)}, _config(), "centers", "center_valid")
    assert np.asarray(found["center_valid"][0]).tolist() == [True] * 5 + [False]
    cells = found["centers"][0, :5].astype(int).tolist()
    assert cells == [[6, 6], [2, 2], [3, 2], [2, 3], [3, 3]]


def test_a_centre_of_exactly_the_threshold_is_none():
    heat, poses = draw(np.random.default_rng(5), 8, 8, COCO, people=0)
    heat[..., -1] = 0
    heat[1, 1, -1], heat[5, 5, -1] = 0.5, np.nextafter(np.float32(0.5), np.float32(1))
    config = _config(center_threshold=0.5)
    found = run({1.0: (heat, poses)}, config, "centers", "center_valid")
    assert np.asarray(found["center_valid"][0]).sum() == 1
    assert found["centers"][0, 0].tolist() == [5, 5]


def test_equal_heat_keeps_the_first_pose_of_the_list():
    heat, poses = draw(np.random.default_rng(6), 8, 8, COCO, people=0)
    heat[...] = 0.5
    heat[..., -1] = 0
    heat[2, 2, -1], heat[6, 6, -1] = 0.4, 0.6
    poses[2, 2] = poses[6, 6]
    found = check({1.0: (heat, poses)}, _config(), (32, 32))
    assert len(found) == 1
    np.testing.assert_allclose(found[0][1], 0.3, rtol=1e-6)


def test_the_relation_of_poses_is_that_of_the_row():
    """A small pose lies within a large one's reach, but not the other way round."""
    heat, poses = draw(np.random.default_rng(7), 16, 16, COCO, people=0)
    heat[..., :-1], heat[..., -1] = 0.5, 0
    heat[2, 2, -1], heat[9, 9, -1] = 0.9, 0.8
    poses[2, 2] = 8 + np.arange(17)[:, None] * 0.01
    poses[9, 9] = poses[2, 2] + 0.15
    poses[9, 9, 0] = 15
    check({1.0: (heat, poses)}, _config(), (64, 64))


def test_a_pose_without_extent_is_dropped():
    heat, poses = draw(np.random.default_rng(8), 8, 8, COCO, people=0)
    heat[..., -1] = 0
    heat[2, 2, -1], heat[6, 6, -1] = 0.9, 0.8
    poses[2, 2] = 3.0
    assert len(check({1.0: (heat, poses)}, _config(), (32, 32))) == 1


def test_keypoints_outside_read_the_border():
    heat, poses = draw(np.random.default_rng(9), 8, 8, COCO, people=3)
    poses += np.random.default_rng(10).uniform(-FAR, FAR, poses.shape)
    check({1.0: (heat, poses.astype(np.float32))}, _config(), (32, 32))


@pytest.mark.parametrize(("height", "width"), [(210, 210), (4, 610)])
def test_the_window_of_peaks_grows_with_the_map(height, width):
    heat, poses = draw(np.random.default_rng(11), height, width, COCO, people=0)
    heat[..., -1] = 0
    row = height // 2
    heat[row, 100, -1] = 0.9
    for steps in (1, 2, 3, 4):
        heat[row, 100 + 10 * steps : 103 + 10 * steps, -1] = 0
        heat[row, 100 + 20 * steps, -1] = 0.8
        heat[row, 100 + 20 * steps - steps, -1] = 0.2 + 0.1 * steps
    found = run({1.0: (heat, poses)}, DekrConfig(), "centers", "center_valid")
    valid = np.asarray(found["center_valid"][0])
    expected = pose_map.peaks(heat[..., -1], 30, 0.01)
    columns = sorted(found["centers"][0][valid][:, 0].astype(int).tolist())
    assert columns == sorted(index % width for _, index in expected)
    reach = 3 if height + width > 600 else 2
    assert len(columns) == 9 - reach


@pytest.mark.parametrize("side", [180, 230])
def test_the_window_is_that_of_the_image_on_a_canvas(side):
    """A canvas of 240 cells; of an image of `side` the map alone decides."""
    heat, poses = draw(np.random.default_rng(12), 240, 240, COCO, people=0)
    heat[..., -1] = 0.005
    heat[50, 50, -1], heat[50, 52, -1] = 0.9, 0.8
    heat[side:, :, -1] = heat[:, side:, -1] = 1
    size = (4 * side, 4 * side)
    found = run({1.0: (heat, poses)}, DekrConfig(), "center_valid", size=size)
    assert np.asarray(found["center_valid"]).sum() == (2 if side < 200 else 1)


def test_poses_on_a_canvas_are_those_of_the_image():
    rng = np.random.default_rng(13)
    config = _config(test_scales=(1.0, 2.0))
    drawn = {float(s): draw(rng, int(8 * s), int(6 * s), COCO) for s in (2, 1)}
    maps = {}
    for scale, arrays in drawn.items():
        canvas = int(12 * scale)
        maps[scale] = tuple(
            np.pad(
                x,
                ((0, canvas - x.shape[0]), (0, canvas - x.shape[1]))
                + ((0, 0),) * (x.ndim - 2),
                constant_values=2,
            )
            for x in arrays
        )
    check(maps, config, (32, 24), valid_size=(32, 24), drawn=drawn)
