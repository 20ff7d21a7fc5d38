import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.ops.peaks import top_peaks, top_two
from tests.reference import peaks as reference

COUNT = 8


@pytest.fixture(scope="module")
def find():
    return jax.jit(functools.partial(top_peaks, count=COUNT))


@pytest.mark.parametrize("seed", range(5))
def test_peaks_are_those_of_the_loop(seed, find):
    heatmap = np.random.default_rng(seed).standard_normal((9, 11)).astype(np.float32)
    expected = reference.peaks(heatmap)[:COUNT]
    positions, values = find(heatmap)
    np.testing.assert_array_equal(values[: len(expected)], [p[0] for p in expected])
    np.testing.assert_array_equal(positions[: len(expected)], [p[1:] for p in expected])
    np.testing.assert_array_equal(values[len(expected) :], 0)


def test_every_position_of_a_plateau_is_a_peak_in_reading_order(find):
    heatmap = jnp.zeros((5, 6)).at[2, 1:4].set(0.5).at[4, 5].set(0.5)
    positions, values = find(heatmap)
    np.testing.assert_array_equal(positions[:4], [[1, 2], [2, 2], [3, 2], [5, 4]])
    np.testing.assert_array_equal(values, [0.5] * 4 + [0] * 4)


def test_missing_peaks_have_the_value_zero(find):
    heatmap = jnp.full((5, 6), -1.0).at[0, 5].set(2.0)
    positions, values = find(heatmap)
    np.testing.assert_array_equal(positions[0], [5, 0])
    np.testing.assert_array_equal(values, [2.0] + [0.0] * (COUNT - 1))


def test_negative_map_has_no_peak(find):
    _, values = find(jnp.full((5, 6), -3.0).at[2, 2].set(-1.0))
    np.testing.assert_array_equal(values, 0)


def test_slope_has_its_peak_at_the_border(find):
    heatmap = jnp.arange(30.0).reshape(5, 6)
    positions, values = find(heatmap)
    np.testing.assert_array_equal(positions[0], [5, 4])
    assert values[1] == 0


def test_window_sets_what_a_peak_must_beat():
    heatmap = jnp.zeros((1, 7)).at[0, 2].set(2.0).at[0, 4].set(1.0)
    _, narrow = top_peaks(heatmap, count=3, window=3)
    _, wide = top_peaks(heatmap, count=3, window=5)
    np.testing.assert_array_equal(narrow, [2, 1, 0])
    np.testing.assert_array_equal(wide, [2, 0, 0])


@pytest.mark.parametrize("seed", range(3))
def test_top_two_are_those_of_a_sort(seed):
    heatmap = np.random.default_rng(seed).standard_normal((6, 5)).astype(np.float32)
    order = np.argsort(-heatmap.ravel())[:2]
    positions, values = jax.jit(top_two)(heatmap)
    np.testing.assert_array_equal(values, heatmap.ravel()[order])
    np.testing.assert_array_equal(positions, np.stack([order % 5, order // 5], axis=1))


def test_of_equal_largest_values_the_later_place_comes_first():
    positions, values = top_two(jnp.zeros((3, 4)).at[[0, 1, 2], [2, 1, 3]].set(5.0))
    np.testing.assert_array_equal(positions, [[1, 1], [2, 0]])
    np.testing.assert_array_equal(values, 5)


def test_of_a_map_of_equal_values_the_first_two_cells_come_in_order():
    positions, _ = top_two(jnp.zeros((3, 4)))
    np.testing.assert_array_equal(positions, [[0, 0], [1, 0]])


def test_top_two_of_a_negative_map_are_its_largest_values():
    heatmap = -jnp.arange(1.0, 7.0).reshape(2, 3)
    positions, values = top_two(heatmap)
    np.testing.assert_array_equal(values, [-1, -2])
    np.testing.assert_array_equal(positions, [[0, 0], [1, 0]])
