import math

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.codecs.heatmap import gaussian_at, gaussian_window


def test_window_equals_the_formula():
    window = gaussian_window(radius=3, sigma=2.0)
    assert window.shape == (7, 7)
    for i in range(7):
        for j in range(7):
            squared = (i - 3) ** 2 + (j - 3) ** 2
            assert window[i, j] == pytest.approx(math.exp(-squared / 8), rel=1e-5)


def test_values_below_the_cutoff_are_zero():
    whole = np.asarray(gaussian_window(radius=6, sigma=1.0))
    cut = np.asarray(gaussian_window(radius=6, sigma=1.0, cutoff=1e-4))
    assert ((whole < 1e-4) & (whole > 0)).any()
    np.testing.assert_array_equal(cut, np.where(whole < 1e-4, 0, whole))


def test_window_of_the_reference_is_cut_at_its_corners():
    # exp(-d^2 / 512) falls below 1e-4 at d = 68.67; the corner lies at 67.88.
    window = gaussian_window(radius=48, sigma=16.0, cutoff=1e-4)
    assert window[0, 0] == pytest.approx(math.exp(-9), rel=1e-4)
    assert np.all(np.asarray(window) > 0)


def test_gaussian_at_a_fraction_equals_the_formula():
    center, sigma = (3.25, -1.5), 2.0
    found = gaussian_at(jnp.asarray(center), height=4, width=6, sigma=sigma)
    for y in range(4):
        for x in range(6):
            squared = (x - center[0]) ** 2 + (y - center[1]) ** 2
            expected = math.exp(-squared / (2 * sigma**2))
            assert found[y, x] == pytest.approx(expected, rel=1e-5)


def test_gaussian_far_off_the_map_is_zero():
    found = gaussian_at(jnp.asarray([1e8, -1e8]), height=3, width=3, sigma=2.0)
    np.testing.assert_array_equal(found, 0)
