import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from logocap_jax.methods.logocap import refine
from tests.reference import sampling

RADIUS = 6


@pytest.fixture
def keypoints():
    points = [[[7.3, 5.8], [0.0, 0.0]], [[23.0, 15.0], [-30.2, 3.5]]]
    return jnp.asarray(points)


def test_window_is_the_reweighed_upsampled_heatmap_around_the_keypoint(keypoints):
    heatmaps = np.random.default_rng(0).standard_normal((4, 6, 2)).astype(np.float32)
    found = refine.global_windows(
        jnp.asarray(heatmaps), keypoints, radius=RADIUS, sigma=2.0, cutoff=0.02
    )
    steps = np.arange(-RADIUS, RADIUS + 1)
    weight = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / 8)
    weight[weight < 0.02] = 0
    for n in range(2):
        for k in range(2):
            upsampled = sampling.resize_half_pixel(heatmaps[..., k], 4)
            window = sampling.window(upsampled, np.asarray(keypoints[n, k]), RADIUS)
            np.testing.assert_allclose(found[n, k], window * weight, atol=1e-5)


def test_window_may_stay_as_it_is():
    heatmaps = jnp.ones((16, 16, 3))
    keypoints = jnp.full((1, 2, 2), 32.0)
    windows = refine.global_windows(heatmaps, keypoints, radius=4, sigma=None)
    np.testing.assert_allclose(windows, np.ones((1, 2, 9, 9)), rtol=1e-6)


def test_each_window_is_convolved_with_its_own_map_over_the_maps_size():
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((2, 3, 13, 13)).astype(np.float32)
    kam = rng.uniform(size=(2, 5, 5, 3)).astype(np.float32)
    found = refine.adapt(jnp.asarray(windows), jnp.asarray(kam))
    for n in range(2):
        for k in range(3):
            expected = scipy.signal.convolve2d(
                windows[n, k], kam[n, :, :, k] / 25, mode="same"
            )
            np.testing.assert_allclose(found[n, k], expected, atol=1e-5)


def test_map_that_attracts_to_the_lower_right_moves_the_peak_there():
    windows = jnp.zeros((1, 1, 13, 13)).at[0, 0, 6, 6].set(1)
    kam = jnp.zeros((1, 5, 5, 1)).at[0, 4, 3, 0].set(1)  # 2 down, 1 right
    initial = jnp.asarray([[[20.0, 30.0]]])
    refined = refine.adapt(windows, kam)
    keypoints, scores = refine.read_peaks(refined, initial, first_share=1.0)
    np.testing.assert_allclose(keypoints[0, 0], [21, 32])
    np.testing.assert_allclose(scores[0, 0], 1 / 25)


def test_target_is_a_gaussian_around_the_true_keypoint(keypoints):
    truth = keypoints + jnp.asarray([2.5, -1.0])
    found = refine.refined_targets(keypoints, truth, radius=RADIUS, sigma=4.0)
    for i in range(2 * RADIUS + 1):
        for j in range(2 * RADIUS + 1):
            squared = (j - RADIUS - 2.5) ** 2 + (i - RADIUS + 1) ** 2
            np.testing.assert_allclose(
                found[:, :, i, j], math.exp(-squared / 32), rtol=1e-4
            )


def test_peaks_blend_the_two_largest_values():
    refined = jnp.zeros((1, 1, 5, 5)).at[0, 0, 1, 3].set(0.8).at[0, 0, 2, 2].set(0.4)
    keypoints, scores = refine.read_peaks(refined, jnp.asarray([[[100.0, 50.0]]]))
    # Relative to the centre: 0.75 * (1, -1) + 0.25 * (0, 0).
    np.testing.assert_allclose(keypoints[0, 0], [100.75, 49.25])
    np.testing.assert_allclose(scores[0, 0], 0.75 * 0.8 + 0.25 * 0.4)
