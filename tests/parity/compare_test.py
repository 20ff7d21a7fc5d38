import numpy as np
import pytest

from logocap_jax.parity.compare import Comparison, first_failure, largest_errors


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


@pytest.mark.parametrize(
    ("error", "noise", "passed", "tolerance"),
    [
        (5e-5, 1e-6, False, "1e-05 of largest"),
        (5e-5, 3e-5, True, "6e-05 of largest (noise)"),
        (2e-4, 1e-3, False, "1e-04 of largest (noise)"),
    ],
)
def test_tolerance_widens_with_the_models_own_noise_up_to_tenfold_and_says_so(
    error, noise, passed, tolerance
):
    expected = np.array([1.0])
    compare = Comparison("case")
    compare.relative(
        "heatmaps",
        expected + error,
        expected,
        tolerance=1e-5,
        fed_with="image",
        noisy=expected + error + noise,
    )
    (result,) = compare.results
    assert result.passed is passed
    assert result.tolerance == tolerance
    assert result.widened is ("noise" in tolerance)


def test_unmarked_results_never_fail():
    compare = Comparison("case", marks=False)
    compare.absolute("a", np.ones(1), np.zeros(1), tolerance=0.0, fed_with="image")
    assert compare.results[0].passed is None
    assert first_failure(compare.results) is None
