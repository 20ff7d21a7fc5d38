import numpy as np

from logocap_jax.parity.center_check import match_centers


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
