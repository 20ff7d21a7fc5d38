"""Poses from input pixels back to those of the original image, on the host."""

import numpy as np
from jaxtyping import Float

from logocap_jax.structures import Poses


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


def poses_of(
    poses: Poses, row: int, input_to_image: Float[np.ndarray, "2 3"]
) -> tuple[
    Float[np.ndarray, "n K 2"],
    Float[np.ndarray, "n K"],
    Float[np.ndarray, " n"],
    Float[np.ndarray, "n K 2"] | None,
]:
    """The poses of one image of a batch, without the empty slots.

    Args:
      poses: of a batch, read from the device.
      row: which image.
      input_to_image: its transform.

    Returns:
      Keypoints in image px, their scores, the poses' scores, and the keypoints before
      refinement in image px, where they are known.
    """
    kept = np.asarray(poses.valid)[row]
    keypoints, keypoint_scores, scores = (
        np.asarray(x)[row][kept]
        for x in (poses.keypoints, poses.keypoint_scores, poses.scores)
    )
    initial = None
    if poses.initial_keypoints is not None:
        initial = np.asarray(poses.initial_keypoints)[row][kept]
        initial = to_image(initial, input_to_image)
    return to_image(keypoints, input_to_image), keypoint_scores, scores, initial
