import types

import numpy as np
import pytest

from logocap_jax.parity.centers import check_centers, in_order
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.table import format_verdict


def _order(centers, values, expected, center_map=None):
    """Rows of ours in the reference's order."""
    given = np.array(centers, float), np.array(values)
    blank = np.zeros((16, 16)) if center_map is None else center_map
    found = in_order(*given, expected, blank, center_map, slots=len(expected))
    assert found.ties == 0
    return [centers.index(center) for center in found.centers.astype(int).tolist()]


def test_tied_centers_may_come_in_any_order_even_if_slots_cut_them():
    centers = [[5, 5], [1, 0], [1, 1], [8, 0], [8, 1]]
    values = [0.9, 0.5, 0.5, 0.2, 0.2]
    expected = np.array([[5, 5, 0.9], [1, 1, 0.5], [1, 0, 0.5], [8, 1, 0.2]])
    assert _order(centers, values, expected) == [0, 2, 1, 4]
    center_map = np.zeros((16, 16))
    for (x, y), value in zip(centers, values, strict=True):
        center_map[y, x] = value
    assert _order(centers, values, expected, center_map) == [0, 2, 1, 4]


def test_other_centers_must_keep_their_order():
    expected = np.array([[1, 0, 0.9], [5, 5, 0.8]])
    assert _order([[5, 5], [1, 0]], [0.9, 0.8], expected) == [0, 1]


NOISE = 2e-7


def _map(*cells):
    """Two peaks, `(x, y) = (4, 4)` and `(12, 8)`, and cells beside them."""
    center_map = np.zeros((16, 20))
    center_map[4, 4], center_map[8, 12] = 0.9, 0.5
    for x, y, value in cells:
        center_map[y, x] = value
    return center_map


def _peaks(center_map):
    """Centers as the reference finds them: no smaller than their neighbours."""
    found = [
        (x, y, center_map[y, x])
        for y in range(1, 15)
        for x in range(1, 19)
        if 0 < center_map[y, x] == center_map[y - 1 : y + 2, x - 1 : x + 2].max()
    ]
    return np.array(sorted(found, key=lambda peak: -peak[2]))


def _check(ours, reference):
    """Compare the peaks of two maps, as `logocap parity` does."""

    def centers(center_map):
        peaks = np.zeros((8, 3))
        found = _peaks(center_map)
        peaks[: len(found)] = found
        return peaks[:, :2], peaks[:, 2]

    stages = types.SimpleNamespace(
        centers=centers,
        config=types.SimpleNamespace(num_slots=4, center_threshold=0.01),
    )
    compare = Comparison("drawn")
    expected = _peaks(reference)
    found = check_centers(
        compare, expected, stages, ours, ours, reference=reference, fed_with="image"
    )
    return compare.results, found.centers[: len(expected)], expected


TIED = {
    "another cell of the peak": ([(5, 4, 0.9 - NOISE)], [(5, 4, 0.9 + NOISE)]),
    "one cell where the reference lists two": ([(5, 4, 0.9 - NOISE)], [(5, 4, 0.9)]),
    "two cells where the reference lists one": ([(5, 4, 0.9)], [(5, 4, 0.9 - NOISE)]),
    "another order": ([(16, 3, 0.5 + 2e-6)], [(16, 3, 0.5 - 2e-6)]),
}


@pytest.mark.parametrize("name", TIED)
def test_a_tie_is_said_and_counted_and_no_failure(name):
    ours, reference = (_map(*cells) for cells in TIED[name])
    results, found, expected = _check(ours, reference)
    assert [result.passed for result in results] == [True, True]
    assert results[0].ties == 1
    assert results[0].note == "1 tie"
    assert format_verdict(results) == "all 2 comparisons passed, 1 tie"
    np.testing.assert_array_equal(found, expected[:, :2])


def test_without_ties_none_is_said():
    results, *_ = _check(_map(), _map())
    assert [(result.passed, result.ties) for result in results] == [(True, 0)] * 2
    assert format_verdict(results) == "all 2 comparisons passed"


FAILURES = {
    "another cell that is less in the reference's map": [(5, 4, 0.9 + NOISE)],
    "a cell that lies elsewhere": [(4, 4, 0.0), (7, 4, 0.9)],
    "one more center": [(16, 3, 0.3)],
    "one center less": [(12, 8, 0.0)],
    "another order": [(12, 8, 0.95)],
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_real_difference_still_fails(name):
    results, *_ = _check(_map(*FAILURES[name]), _map())
    assert results[0].passed is False
    assert results[0].ties == 0


def test_a_reference_whose_centers_are_out_of_order_is_no_tie():
    peaks = _peaks(_map())
    centers, values = peaks[:, :2].astype(int).tolist(), peaks[:, 2]
    assert _order(centers, values, peaks[::-1], _map()) == [0, 1]


def test_an_empty_slot_beside_a_weak_peak_is_no_tie():
    center_map = _map((1, 1, 5e-6))
    peaks = _peaks(center_map)
    centers = [*peaks[:, :2].tolist(), [0, 0]]  # of value 0, as where peaks run out
    values = np.array([*peaks[:, 2], 0])
    found = in_order(np.array(centers), values, peaks, center_map, center_map, slots=4)
    assert found.ties == 0
    np.testing.assert_array_equal(found.centers, centers)
