"""Decoding from drawn maps against a plain NumPy oracle (specification, 8)."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.decoding import decode_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO, CROWDPOSE
from tests.reference import absorption, gaussian_fit, pose_map

SLOTS = 5
KEYPOINTS = COCO.num_keypoints
WANTED = ("fused", "peaks", "peak_values", "outputs")


def candidates(maps, config):
    """Poses and their scores, scale by scale."""
    stride, at_one = config.cells.stride, maps[1.0][0][..., -1]
    poses, scores = [], []
    for scale in sorted(maps, reverse=True):
        heat, pose_of = maps[scale]
        factor = np.float32(1 if scale == 1 else 0.001)
        center_map = factor * heat[..., -1] / heat[..., -1].max() * at_one.max()
        for value, index in pose_map.peaks(
            center_map, config.num_slots, factor * config.center_threshold
        ):
            poses.append(pose_of[divmod(index, heat.shape[1])] * stride / scale)
            scores.append(value)
    return poses, scores


def after_nms(poses, scores, config):
    kept, ignored = [], set()
    for i, pose in enumerate(poses):
        near = [
            j
            for j, other in enumerate(poses)
            if sum(math.dist(a, b) < 10 for a, b in zip(pose, other, strict=True)) > 10
        ]
        best = max(near, key=lambda j: (scores[j], -j))
        if i not in ignored and best not in ignored:
            kept.append(best)
            ignored.update(near)
    if len(kept) > config.num_slots:
        kept = sorted(kept, key=lambda i: -scores[i])[: config.num_slots]
    return kept


def refine(point, score, center, heat, quirks):
    """`(point, score)` of one keypoint after the fit."""
    if score <= 0.05:
        return point, score
    fit = gaussian_fit.fit(heat, *point, quirks=quirks)
    if fit is None:
        return point, score
    amplitude, row, column, _ = fit
    return (column, row), amplitude * center


def heat_value(point, heat, quirks):
    """Bilinear, by truncation or rounding down; 0 outside."""
    x, y = (int(v) if quirks == "reference" else math.floor(v) for v in point)
    if min(x, y) < 0 or x + 1 >= heat.shape[1] or y + 1 >= heat.shape[0]:
        return 0.0
    fx, fy = point[0] - x, point[1] - y
    top = (1 - fx) * heat[y, x] + fx * heat[y, x + 1]
    bottom = (1 - fx) * heat[y + 1, x] + fx * heat[y + 1, x + 1]
    return (1 - fy) * top + fy * bottom


def fuse(maps, config, size):
    stride = config.cells.stride
    fused = [pose_map.up(maps[scale][0], size, stride / scale) for scale in maps]
    return np.mean(fused, axis=0)[..., :-1]


def oracle(maps, config, fused, peaks):
    """For each pose kept: regressed and refined keypoints, and scores of both."""
    quirks = config.quirks
    poses, scores = candidates(maps, config)
    results = []
    for i in after_nms(poses, scores, config):
        refined, regression = [], []
        for k, point in enumerate(poses[i]):
            heat = fused[..., k]
            place, value = absorption.absorb(
                point, heat, peaks[k], threshold=0.01, quirks=quirks
            )
            refined.append(refine(place, scores[i] * value, scores[i], heat, quirks))
            regression.append(scores[i] * heat_value(point, heat, quirks))
        results.append((poses[i], refined, regression))
    return results


def draw(rng, height, width, *, people=3, stride=4):
    """Wide peaks of keypoints, few enough to be all; poses near them."""
    y, x = np.mgrid[:height, :width]
    heat = np.zeros((height, width, KEYPOINTS + 1))
    sd = 8 / stride
    for k in range(KEYPOINTS):
        for _ in range(people):
            row, column = rng.uniform(0, height), rng.uniform(0, width)
            square = (y - row) ** 2 + (x - column) ** 2
            bell = rng.uniform(0.3, 1) * np.exp(-square / (2 * sd**2))
            heat[..., k] = np.maximum(heat[..., k], bell)
    # Never flat, so that a fit has one end and thirty maxima are there.
    heat[..., :-1] += rng.uniform(0, 1e-3, (height, width, KEYPOINTS))
    heat[..., -1] = rng.uniform(0, 1e-4, (height, width))
    for _ in range(people):
        heat[rng.integers(height), rng.integers(width), -1] = rng.uniform(0.3, 1)
    grid = np.stack([x, y], axis=-1)
    figure = rng.uniform(-3, 3, (KEYPOINTS, 2))
    poses = grid[:, :, None] + figure + rng.normal(0, 0.3, (height, width, 1, 2))
    return heat.astype(np.float32), poses.astype(np.float32)


def run(maps, config, *wanted, size=None):
    """Our stages on the same maps."""
    given = {
        "heatmaps": jnp.asarray(maps[1.0][0])[None],
        "pose_map": jnp.asarray(maps[1.0][1])[None],
        "scaled_maps": tuple(
            tuple(jnp.asarray(x)[None] for x in maps[scale])
            for scale in config.other_scales
        ),
        "valid_size": None if size is None else jnp.asarray([size], jnp.int32),
    }
    stages = decode_stages(config)
    return jax.jit(lambda given: run_stages(stages, {}, given, wanted))(given)


def check(maps, config, size, *, found=None):
    """Compare both result sets with the oracle's; returns how many keypoints meet.

    The oracle has our fused heatmaps and their peaks, whose order at repeated edges,
    and where there are too few, is open.
    """
    found = found or run(maps, config, *WANTED)
    fused, sets = np.asarray(found["fused"][0])[: size[0], : size[1]], found["outputs"]
    np.testing.assert_allclose(fused, fuse(maps, config, size), atol=1e-6)
    values, places = found["peak_values"][0], found["peaks"][0]
    peaks = np.concatenate([values[..., None], places], axis=-1).tolist()
    expected = oracle(maps, config, fused, peaks)
    valid = np.asarray(sets["ranking"].valid[0])
    assert valid.sum() == len(expected) > 0
    met = []
    for slot, (pose, refined, regression) in zip(
        np.flatnonzero(valid), expected, strict=True
    ):
        regressed = sets["regression"]
        np.testing.assert_allclose(regressed.keypoints[0, slot], pose, rtol=1e-5)
        np.testing.assert_allclose(
            regressed.keypoint_scores[0, slot], regression, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            regressed.scores[0, slot], np.mean(regression), rtol=1e-4, atol=1e-5
        )
        points = np.array([point for point, _ in refined])
        scores = np.array([score for _, score in refined])
        distance = np.abs(sets["ranking"].keypoints[0, slot] - points).max(axis=-1)
        difference = np.abs(sets["ranking"].keypoint_scores[0, slot] - scores)
        met.extend((distance < 5e-4) & (difference < 1e-4))
    return np.mean(met)


def _config(**settings):
    return RankingConfig(num_slots=SLOTS, **settings)


@pytest.mark.parametrize("quirks", ["reference", "fixed"])
def test_poses_are_those_of_the_text(quirks):
    rng = np.random.default_rng(0)
    config = _config(quirks=quirks)
    met = [check({1.0: draw(rng, 24, 32)}, config, (96, 128)) for _ in range(2)]
    assert np.mean(met) > 0.97


@pytest.mark.parametrize("scales", [(0.5, 1.0, 2.0), (1.0, 2.0)])
def test_scales_share_one_list(scales):
    rng = np.random.default_rng(1)
    maps = {s: draw(rng, int(16 * s), int(20 * s), stride=4 / s) for s in scales}
    config = _config(test_scales=scales)
    assert check(maps, config, (64, 80)) > 0.97


def test_maps_at_stride_2_have_poses_at_half_the_size():
    rng = np.random.default_rng(2)
    maps = {1.0: draw(rng, 24, 28, stride=2)}
    config = _config(fine_hidden=4)
    assert check(maps, config, (48, 56)) > 0.97


def test_poses_on_a_canvas_are_those_of_the_image():
    rng = np.random.default_rng(3)
    config = _config(test_scales=(1.0, 2.0))
    drawn = {s: draw(rng, int(16 * s), int(20 * s), stride=4 / s) for s in (1.0, 2.0)}
    canvas = {
        scale: tuple(
            np.pad(
                maps,
                [(0, int(8 * scale)), (0, int(4 * scale)), *[(0, 0)] * (maps.ndim - 2)],
                constant_values=3,
            )
            for maps in arrays
        )
        for scale, arrays in drawn.items()
    }
    found = run(canvas, config, *WANTED, size=(64, 80))
    assert check(drawn, config, (64, 80), found=found) > 0.97


def test_the_best_centres_of_other_scales_tie():
    rng = np.random.default_rng(4)
    scales = (0.5, 1.0, 2.0)
    maps = {s: draw(rng, int(12 * s), int(12 * s)) for s in scales}
    found = run(maps, _config(test_scales=scales), "center_values", "center_valid")
    values = np.asarray(found["center_values"]).reshape(3, SLOTS)
    largest = maps[1.0][0][..., -1].max()
    assert values[1, 0] == pytest.approx(largest, rel=1e-6)
    np.testing.assert_allclose(values[[0, 2], 0], 0.001 * largest, rtol=1e-6)


def test_more_poses_than_slots_leave_the_best_of_all_scales():
    rng = np.random.default_rng(5)
    maps = {s: draw(rng, int(16 * s), int(16 * s), people=5) for s in (1.0, 2.0)}
    for _, poses in maps.values():
        poses *= rng.uniform(1, 9, (*poses.shape[:2], 1, 1)).astype(np.float32)
    config = _config(test_scales=(1.0, 2.0), nms_distance=1e-6)
    found = run(maps, config, "center_values", "center_valid", "kept", "valid")
    values = np.where(found["center_valid"][0], found["center_values"][0], -1)
    assert np.sum(values > 0) > SLOTS
    assert np.asarray(found["valid"]).all()
    assert found["kept"][0].tolist() == np.argsort(-values, kind="stable")[:5].tolist()


def test_a_list_that_fits_keeps_its_order():
    """Of two scales the larger comes first, whatever its scores."""
    rng = np.random.default_rng(6)
    maps = {s: draw(rng, int(16 * s), int(16 * s), people=2) for s in (1.0, 2.0)}
    config = _config(test_scales=(1.0, 2.0), nms_distance=1e-6)
    found = run(maps, config, "kept", "valid", "center_scores")
    kept = np.asarray(found["kept"][0])[np.asarray(found["valid"][0])]
    assert kept.tolist() == sorted(kept.tolist())
    scores = np.asarray(found["center_scores"][0])
    assert scores[0] < scores[len(kept) - 1]


def test_duplicates_have_more_than_10_keypoints_nearer_than_10_px():
    heat, poses = draw(np.random.default_rng(7), 16, 16, people=0)
    heat[..., -1] = 0
    heat[2, 2, -1], heat[9, 9, -1] = 0.8, 0.9
    poses[9, 9] = poses[2, 2]
    poses[9, 9, :11, 0] += 9.9 / 4
    poses[9, 9, 11:, 0] += 10.1 / 4

    def kept(poses):
        found = run({1.0: (heat, poses)}, _config(), "kept", "valid")
        return np.asarray(found["kept"][0])[np.asarray(found["valid"][0])].tolist()

    assert kept(poses) == [0]
    poses[9, 9, 0, 0] += 0.2
    assert kept(poses) == [0, 1]


def test_the_rule_of_duplicates_is_a_share_for_other_skeletons():
    own = dataclasses.replace(COCO, name="own")
    assert RankingConfig(skeleton=COCO).matches == 10
    assert RankingConfig(skeleton=CROWDPOSE).matches == 10
    assert RankingConfig(skeleton=own).matches == 10
    assert RankingConfig(nms_matches=3).matches == 3
    few = dataclasses.replace(
        own, keypoints=tuple("abcd"), sigmas=(0.1,) * 4, limbs=(), flip_pairs=()
    )
    assert RankingConfig(skeleton=few).matches == 2


def test_a_map_without_centres_has_no_poses():
    heat, poses = draw(np.random.default_rng(8), 16, 16, people=0)
    heat[..., -1] = 0
    sets = run({1.0: (heat, poses)}, _config(), "outputs")["outputs"]
    assert not any(poses.valid.any() for poses in sets.values())
    assert all(np.isfinite(poses.scores).all() for poses in sets.values())
