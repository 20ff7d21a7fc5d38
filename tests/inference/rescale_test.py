import math

import numpy as np
import pytest

from logocap_jax.evaluation.results import to_image


def _affine(angle, scale, shift):
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_points_return_through_the_inverse(angle):
    to_input = _affine(angle, 1.7, (20.0, -31.5))
    inverse = np.linalg.inv(np.vstack([to_input, [0, 0, 1]]))[:2]
    points = np.random.default_rng(0).uniform(-50, 600, (3, 17, 2)).astype(np.float32)
    there = to_image(points, to_input.astype(np.float32))
    back = to_image(there, inverse.astype(np.float32))
    np.testing.assert_allclose(back, points, atol=1e-3)
    assert back.dtype == np.float32


def test_a_point_moves_as_computed_by_hand():
    transform = np.array([[2, 0, 5], [0, 3, -1]], np.float32)
    points = np.array([[1, 1], [0, 2]], np.float32)
    np.testing.assert_array_equal(to_image(points, transform), [[7, 2], [5, 5]])
