"""The option `matching`: keypoints move to peaks, scores stay (specification, 13)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.structures import Poses
from tests.reference import gaussian_fit

HEIGHT, WIDTH, KEYPOINTS = 64, 96, 17


@pytest.fixture(scope="module")
def fused():
    """Three broad peaks of each type, one of them at the border."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    maps = np.zeros((HEIGHT, WIDTH, KEYPOINTS + 1), np.float32)
    for k in range(KEYPOINTS + 1):
        for i in range(3):
            column = rng.uniform(10, 85) if i else -1.3
            row, height = rng.uniform(10, 54), rng.uniform(0.3, 0.9)
            square = (y - row) ** 2 + (x - column) ** 2
            bell = height * np.exp(-square / (2 * rng.uniform(3, 5) ** 2))
            maps[..., k] = np.maximum(maps[..., k], bell)
    return maps


@pytest.fixture(scope="module")
def poses():
    rng = np.random.default_rng(1)
    points = rng.uniform((-20, -20), (WIDTH + 20, HEIGHT + 20), (3, KEYPOINTS, 2))
    points[2, 0] = (WIDTH + 200, HEIGHT)  # too far from all peaks
    scores = rng.uniform(0, 0.3, (3, KEYPOINTS))
    scores[0, :3] = 0.05, 0.0500001, 0.04
    arrays = (points, scores, scores.mean(-1))
    arrays = (jnp.asarray(x[None], jnp.float32) for x in arrays)
    return Poses(*arrays, jnp.ones((1, 3), bool))


def _run(config, fused, poses, *wanted):
    given = {"fused": jnp.asarray(fused[None]), "poses": poses, "valid_size": None}
    return run_stages(make_stages(config), {}, given, wanted)


@pytest.fixture(scope="module")
def matched(fused, poses):
    config = DekrConfig(matching=True)
    return jax.jit(
        lambda: _run(config, fused, poses, "absorbed_poses", "matched_poses", "outputs")
    )()


def _maxima(heatmap):
    padded = np.pad(heatmap, 2, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    y, x = np.nonzero((heatmap == windows.max(axis=(2, 3))) & (heatmap > 0))
    order = np.argsort(-heatmap[y, x])[:30]
    return np.stack([x[order], y[order]], axis=-1)


def test_keypoints_take_the_place_of_the_nearest_peak(fused, poses, matched):
    absorbed = np.asarray(matched["absorbed_poses"].keypoints[0])
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1)
    for k in range(KEYPOINTS):
        peaks = _maxima(fused[..., k])
        assert 1 <= len(peaks) < 30
        # With so few of them some pixels of value 0 are candidates as well.
        blank = pixels.reshape(-1, 2)[: 30 - len(peaks)]
        for i, point in enumerate(np.asarray(poses.keypoints[0, :, k])):
            distance = np.hypot(*(peaks - point).T)
            if distance.min() > np.hypot(*(blank - point).T).min():
                continue
            expected = peaks[distance.argmin()] if distance.min() < 75 else point
            np.testing.assert_array_equal(absorbed[i, k], expected)
    np.testing.assert_array_equal(absorbed[2, 0], (WIDTH + 200, HEIGHT))


@pytest.mark.parametrize("quirks", ["reference", "fixed"])
def test_keypoints_of_some_score_are_fitted_the_border_too(
    fused, poses, matched, quirks
):
    config = DekrConfig(matching=True, quirks=quirks)
    given = {
        "absorbed_poses": matched["absorbed_poses"],
        "fused": jnp.asarray(fused[None]),
        "valid_size": None,
    }
    run = jax.jit(lambda: run_stages(make_stages(config), {}, given, ["matched_poses"]))
    found = np.asarray(run()["matched_poses"].keypoints[0])
    absorbed = np.asarray(matched["absorbed_poses"].keypoints[0])
    scores = np.asarray(poses.keypoint_scores[0])
    at_border, checked = 0, 0
    for i, k in np.ndindex(3, KEYPOINTS):
        x, y = absorbed[i, k]
        if scores[i, k] <= 0.05:
            np.testing.assert_array_equal(found[i, k], absorbed[i, k])
            continue
        fit = gaussian_fit.fit(fused[..., k], x, y, clip=True, quirks=quirks)
        expected = absorbed[i, k] if fit is None else fit[2:0:-1]
        if np.abs(expected - absorbed[i, k]).max() < 3:
            checked += 1
            at_border += x == 0
            np.testing.assert_allclose(found[i, k], expected, atol=0.01)
    assert checked > 20
    assert at_border or quirks == "reference"  # where windows at the border are off


def test_scores_stay(poses, matched):
    for name in ("absorbed_poses", "matched_poses"):
        for field in ("keypoint_scores", "scores", "valid"):
            np.testing.assert_array_equal(
                getattr(matched[name], field), getattr(poses, field)
            )
    np.testing.assert_array_equal(
        matched["outputs"]["dekr"].keypoints, matched["matched_poses"].keypoints
    )


def test_fixed_leaves_out_pixels_that_are_no_peaks(fused, poses):
    config = DekrConfig(matching=True, quirks="fixed")
    empty = np.zeros_like(fused)
    found = _run(config, empty, poses, "absorbed_poses")["absorbed_poses"]
    np.testing.assert_array_equal(found.keypoints, poses.keypoints)
    reference = dataclasses.replace(config, quirks="reference")
    found = _run(reference, empty, poses, "absorbed_poses")["absorbed_poses"]
    assert np.any(np.asarray(found.keypoints) != np.asarray(poses.keypoints))
