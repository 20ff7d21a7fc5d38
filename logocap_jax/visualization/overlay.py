"""Poses drawn over their image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.atomic import replacing
from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.canvas import enlarged, scaled_points
from logocap_jax.visualization.figures import (
    Figure,
    draw_label,
    draw_thick,
    draw_thin,
)

# Far outside any image, and still within OpenCV's 32-bit coordinates.
_FAR = 1e6


@runtime_checkable
class PoseArrays(Protocol):
    """The poses of one image, such as `evaluation.results.ImagePoses`."""

    @property
    def keypoints(self) -> Float[np.ndarray, "n K 2"]:
        """Image px, pixel centers at integers."""

    @property
    def keypoint_scores(self) -> Float[np.ndarray, "n K"]:
        """One score per keypoint."""

    @property
    def scores(self) -> Float[np.ndarray, " n"]:
        """One score per pose."""


def draw_poses(
    image: UInt8[np.ndarray, "H W 3"],
    poses: PoseArrays,
    thin_poses: PoseArrays | None = None,
    *,
    skeleton: Skeleton,
    min_keypoint_score: float = 0.02,
    min_score: float = 0.02,
    show_scores: bool = True,
    labels: Sequence[str] | None = None,
    min_side: int = 512,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw poses as thick skeletons and, over them, others as thin white ones.

    Left limbs are orange, right limbs blue, those from side to side green, all with a
    dark outline. Widths follow the sizes of the person and of the image.

    Args:
      image: RGB; left unchanged.
      poses: drawn thick, the best score on top; image px.
      thin_poses: drawn thin, for instance the poses before refinement; image px.
      skeleton: names and limbs of the K keypoints.
      min_keypoint_score: keypoints below it are left out, with their limbs.
      min_score: poses below it are left out.
      show_scores: write the score of each thick pose above its head ...
      labels: ... or these instead, one for each pose.
      min_side: an image whose long side is shorter is enlarged to it first.

    Returns:
      RGB, of the image's size or enlarged.

    Raises:
      ValueError: if a pose has other than K keypoints, or a NaN or infinity.
    """
    canvas, scale = enlarged(image, min_side)
    thick, thin = (
        _figures(some, skeleton, min_score, min_keypoint_score, scale, labels)
        for some in (poses, thin_poses)
    )
    # The outline of thin lines lies under the thick ones, whose color it would hide.
    for figure in thin:
        draw_thin(canvas, figure, skeleton, outline=True)
    for figure in thick:
        draw_thick(canvas, figure, skeleton)
    for figure in thin:
        draw_thin(canvas, figure, skeleton, outline=False)
    if show_scores:
        for figure in thick:
            draw_label(canvas, figure)
    return canvas


def write_image(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a PNG or JPEG, all of it or nothing.

    Args:
      path: ends in `.png`, `.jpg` or `.jpeg`; an old file is replaced.
      image: RGB.

    Raises:
      ValueError: if the name ends otherwise.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"{path}: got {path.suffix!r}, expected .png, .jpg or .jpeg")
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _figures(
    poses: PoseArrays | None,
    skeleton: Skeleton,
    min_score: float,
    min_keypoint_score: float,
    scale: float,
    labels: Sequence[str] | None,
) -> list[Figure]:
    """Select what to draw, the best score last."""
    if poses is None:
        return []
    if poses.keypoints.shape[1:] != (skeleton.num_keypoints, 2):
        raise ValueError(
            f"got keypoints of shape {poses.keypoints.shape}, expected n poses of the "
            f"{skeleton.num_keypoints} keypoints of skeleton {skeleton.name!r}"
        )
    if not np.isfinite(poses.keypoints).all():
        raise ValueError("got a NaN or infinite keypoint, expected image pixels")
    figures = []
    for index in np.argsort(poses.scores, kind="stable"):
        shown = poses.keypoint_scores[index] >= min_keypoint_score
        if poses.scores[index] < min_score or not shown.any():
            continue
        points = scaled_points(poses.keypoints[index], scale)
        points = np.clip(points, -_FAR, _FAR)
        size = float(np.hypot(*np.ptp(points[shown], axis=0)))
        label = f"{poses.scores[index]:.2f}" if labels is None else labels[index]
        figures.append(Figure(points, shown, label, size))
    return figures
