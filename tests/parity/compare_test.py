import numpy as np
import pytest

from logocap_jax.parity.compare import (
    Comparison,
    first_failure,
    largest_errors,
    match_centers,
)


def test_errors_are_of_the_largest_value():
    assert largest_errors(np.array([1.0, -3.5]), np.array([1.0, -4.0])) == (0.5, 0.125)


@pytest.mark.parametrize("found", [np.zeros(2), np.array([np.nan, 0, 0])])
def test_other_shape_or_nan_is_an_infinite_error(found):
    assert largest_errors(found, np.ones(3)) == (np.inf, np.inf)


@pytest.mark.parametrize(
    ("moved", "by", "passed"),
    [
        (0, 0.0, True),
        (5, 0.9, True),
        (6, 0.9, False),
        (1, 1.1, False),
        (340, 0.009, True),
    ],
)
def test_keypoints_may_move_a_little_or_rarely_a_pixel(moved, by, passed):
    expected = np.ones((60, 17, 3))  # 1020 keypoints: 5 are less than 0.5 %
    found = expected[..., :2].copy()
    found.reshape(-1, 2)[:moved, 0] += by
    compare = Comparison("case")
    compare.keypoints("poses", found, expected, fed_with="image")
    assert compare.results[0].passed is passed


def test_distance_counts_in_input_pixels():
    expected = np.ones((1, 17, 3))
    compare = Comparison("case")
    compare.keypoints(
        "poses", expected[..., :2] + 0.015, expected, fed_with="image", unit=0.5
    )
    assert compare.results[0].passed
    assert compare.results[0].absolute_error == pytest.approx(0.0075)


def test_keypoint_of_score_zero_has_no_place():
    expected = np.ones((1, 17, 3))
    expected[0, 3, 2] = 0
    found = expected[..., :2].copy()
    found[0, 3] = 90
    compare = Comparison("case")
    compare.keypoints("poses", found, expected, fed_with="image")
    assert compare.results[0].passed
    assert compare.results[0].note == "1 of score 0 left out"


def test_tolerance_widens_to_twice_the_models_own_noise_and_says_so():
    expected = np.array([1.0])
    compare = Comparison("case")
    for noise in (1e-6, 1e-3):
        compare.relative(
            "heatmaps",
            expected + 1e-3,
            expected,
            tolerance=1e-5,
            fed_with="image",
            noisy=expected + 1e-3 + noise,
        )
    small, large = compare.results
    assert not small.passed
    assert small.tolerance == "1e-05 of largest"
    assert large.passed
    assert large.tolerance == "2e-03 of largest (2 x noise)"


def test_unmarked_results_never_fail():
    compare = Comparison("case", marks=False)
    compare.absolute("a", np.ones(1), np.zeros(1), tolerance=0.0, fed_with="image")
    assert compare.results[0].passed is None
    assert first_failure(compare.results) is None


def test_tied_centers_may_come_in_any_order_even_if_slots_cut_them():
    centers = np.array([[5, 5], [1, 0], [1, 1], [8, 0], [8, 1]], float)
    values = np.array([0.9, 0.5, 0.5, 0.2, 0.2])
    expected = np.array([[5, 5, 0.9], [1, 1, 0.5], [1, 0, 0.5], [8, 1, 0.2]])
    np.testing.assert_array_equal(
        match_centers(centers, values, expected), [0, 2, 1, 4]
    )


def test_other_centers_must_keep_their_order():
    centers = np.array([[5, 5], [1, 0]], float)
    values = np.array([0.9, 0.8])
    expected = np.array([[1, 0, 0.9], [5, 5, 0.8]])
    np.testing.assert_array_equal(match_centers(centers, values, expected), [0, 1])
