"""Poses from input pixels back to those of the original image, on the host."""

import numpy as np
from jaxtyping import Float


def to_image(
    points_input: Float[np.ndarray, "*prefix 2"],
    input_to_image: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "*prefix 2"]:
    """Map points by an affine transform.

    Args:
      points_input: points in input px.
      input_to_image: the transform.

    Returns:
      Points in image px, float32.
    """
    transform = input_to_image.astype(np.float64)
    points = points_input @ transform[:, :2].T + transform[:, 2]
    return points.astype(np.float32)
