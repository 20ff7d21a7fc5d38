from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference.absorption import Candidates, absorb, find_candidates
from tests.reference import absorption as reference

HEIGHT, WIDTH, KINDS = 90, 130, 3


@pytest.fixture(scope="module")
def heatmaps():
    """Few peaks among small noise; far less than 30 maxima in the last map."""
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 0.012, (HEIGHT, WIDTH, KINDS)).astype(np.float32)
    maps[..., 2] = 0
    for _ in range(12):
        y, x, kind = (rng.integers(size) for size in maps.shape)
        maps[y, x, kind] = rng.uniform(0.005, 1)
    return maps


@pytest.fixture(scope="module")
def keypoints():
    rng = np.random.default_rng(1)
    low, high = (-40, -40), (WIDTH + 40, HEIGHT + 40)
    return rng.uniform(low, high, (20, KINDS, 2)).astype(np.float32)


def test_candidates_are_the_highest_maxima(heatmaps):
    found = jax.jit(find_candidates)(jnp.asarray(heatmaps))
    for kind in range(KINDS):
        expected = reference.maxima(heatmaps[..., kind])[:30]
        values = np.zeros(30, np.float32)
        values[: len(expected)] = [value for value, _, _ in expected]
        np.testing.assert_array_equal(found.values[kind], values)
        points = [(x, y) for _, x, y in expected]
        np.testing.assert_array_equal(found.points[kind, : len(points)], points)


def test_without_maxima_pixels_of_value_0_are_candidates():
    empty = find_candidates(jnp.zeros((8, 9, 1)))
    assert not empty.values.any()
    assert len(np.unique(empty.points[0], axis=0)) == 30


def test_candidates_lie_within_the_image(heatmaps):
    size = jnp.array([40, 50])
    canvas = find_candidates(jnp.asarray(heatmaps), size)
    alone = find_candidates(jnp.asarray(heatmaps[:40, :50]))
    jax.tree.map(np.testing.assert_array_equal, canvas, alone)


@pytest.mark.parametrize("quirks", ["reference", "fixed"])
@pytest.mark.parametrize("threshold", [0.0, 0.01])
def test_keypoints_are_absorbed_as_by_the_loop(heatmaps, keypoints, quirks, threshold):
    # Of the first map few candidates, so that some keypoints are out of reach.
    found = find_candidates(jnp.asarray(heatmaps), count=2)
    run = jax.jit(partial(absorb, threshold=threshold, quirks=quirks))
    result = run(jnp.asarray(keypoints), jnp.asarray(heatmaps), found)
    for pose, kind in np.ndindex(20, KINDS):
        candidates = [
            (float(value), float(x), float(y))
            for value, (x, y) in zip(
                found.values[kind], found.points[kind], strict=True
            )
        ]
        point, value = reference.absorb(
            keypoints[pose, kind].tolist(),
            heatmaps[..., kind],
            candidates,
            threshold=threshold,
            quirks=quirks,
        )
        np.testing.assert_array_equal(result.keypoints[pose, kind], np.float32(point))
        assert result.values[pose, kind] == np.float32(value)
    assert 0.2 < np.mean(result.moved) < 0.95


def test_a_keypoint_out_of_reach_reads_x_and_y_exchanged():
    heatmaps = jnp.arange(200 * 120.0).reshape(200, 120, 1)
    far = Candidates(jnp.full((1, 1, 2), 1e4), jnp.ones((1, 1)))
    keypoint = jnp.array([[[30.7, 150.2]]])
    # Row 30 and, cut at the border, column 119.
    assert absorb(keypoint, heatmaps, far).values == 30 * 120 + 119
    assert absorb(keypoint, heatmaps, far, quirks="fixed").values == 150 * 120 + 30
    # On a canvas the border is the image's.
    size = jnp.array([25, 60])
    assert absorb(keypoint, heatmaps, far, size).values == 24 * 120 + 59


def test_75_px_are_out_of_reach():
    at_border = Candidates(jnp.array([[[75.0, 0.0]]]), jnp.ones((1, 1)))
    keypoints = jnp.array([[[0.0, 0.0]], [[0.1, 0.0]]])
    moved = absorb(keypoints, jnp.zeros((4, 4, 1)), at_border).moved
    np.testing.assert_array_equal(moved[:, 0], [False, True])
