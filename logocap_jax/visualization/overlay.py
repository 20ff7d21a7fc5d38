"""Poses drawn over their image."""

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from logocap_jax.atomic import replacing
from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.canvas import (
    DARK,
    Color,
    enlarged,
    measure_text,
    scaled_points,
    write_text,
)

# Far outside any image, and still within OpenCV's 32-bit coordinates.
_FAR = 1e6

# RGB. Orange and blue stay apart for color-blind eyes too.
_SIDE_COLORS: dict[str, Color] = {
    "left": (255, 140, 0),
    "right": (0, 150, 255),
    "center": (150, 230, 110),
}
_WHITE: Color = (255, 255, 255)
_SUBPIXEL_BITS = 4
SIGNATURE = b"Software\0logocap-jax"
"""Text in the pictures and films that are written here: they may be replaced."""
_PNG_HEADER = 33  # bytes


@dataclasses.dataclass(frozen=True)
class _Figure:
    """One person to draw, canvas px; `size` is the diagonal of the shown keypoints."""

    points: Float[np.ndarray, "K 2"]
    shown: Bool[np.ndarray, " K"]
    label: str
    size: float

    def line_width(self, canvas: UInt8[np.ndarray, "H W 3"]) -> int:
        """Width that follows the person's size within bounds of the canvas's, px."""
        long_side = max(canvas.shape)
        width = np.clip(0.011 * self.size, 0.002 * long_side, 0.006 * long_side)
        return max(1, round(width))


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
      show_scores: write the score of each thick pose above its head.
      labels: texts in place of the scores, one for each pose.
      min_side: an image whose long side is shorter is enlarged to it first.

    Raises:
      ValueError: if a pose has other than K keypoints, or a NaN or infinity.
    """
    canvas, scale = enlarged(image, min_side)
    thick, thin = (
        _figures(group, skeleton, min_score, min_keypoint_score, scale, labels)
        for group in (poses, thin_poses)
    )
    # The outline of thin lines lies under the thick ones, whose color it would hide.
    for figure in thin:
        _draw_thin(canvas, figure, skeleton, outline=True)
    for figure in thick:
        _draw_thick(canvas, figure, skeleton)
    for figure in thin:
        _draw_thin(canvas, figure, skeleton, outline=False)
    if show_scores:
        for figure in thick:
            _draw_label(canvas, figure)
    return canvas


def write_image(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write RGB as a PNG or JPEG, all of it or nothing; an old file is replaced.

    Raises:
      ValueError: if the name does not end in `.png`, `.jpg` or `.jpeg`.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"{path}: got {path.suffix!r}, expected .png, .jpg or .jpeg")
    _, pixels = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    encoded = pixels.tobytes()
    if path.suffix.lower() == ".png":
        encoded = encoded[:_PNG_HEADER] + _png_text(SIGNATURE) + encoded[_PNG_HEADER:]
    with replacing(path) as temporary:
        temporary.write_bytes(encoded)


def _png_text(content: bytes) -> bytes:
    """A chunk that says which program has written the file."""
    return (
        len(content).to_bytes(4)
        + b"tEXt"
        + content
        + zlib.crc32(b"tEXt" + content).to_bytes(4)
    )


def _figures(
    poses: PoseArrays | None,
    skeleton: Skeleton,
    min_score: float,
    min_keypoint_score: float,
    scale: float,
    labels: Sequence[str] | None,
) -> list[_Figure]:
    """Select the people to draw, the best score last."""
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
        figures.append(_Figure(points, shown, label, size))
    return figures


def _draw_thick(
    canvas: UInt8[np.ndarray, "H W 3"], figure: _Figure, skeleton: Skeleton
) -> None:
    """Draw limbs and keypoints in the colors of their sides, with a dark outline."""
    width = figure.line_width(canvas)
    radius = 0.85 * width + 0.5
    border = max(1, round(0.3 * width))
    limbs, dots = _limbs(figure, skeleton), np.flatnonzero(figure.shown).tolist()
    for start, end in limbs:
        _line(canvas, figure, (start, end), DARK, width + 2 * border)
    for dot in dots:
        _dot(canvas, figure.points[dot], radius + border, DARK)
    for limb in limbs:
        _line(canvas, figure, limb, side_color(skeleton, *limb), width)
    for dot in dots:
        _dot(canvas, figure.points[dot], radius, side_color(skeleton, dot))


def _draw_thin(
    canvas: UInt8[np.ndarray, "H W 3"],
    figure: _Figure,
    skeleton: Skeleton,
    *,
    outline: bool,
) -> None:
    """Draw limbs as thin white lines, or the dark outline that lies below these."""
    width = max(1, round(0.35 * figure.line_width(canvas)))
    color = _WHITE
    if outline:
        width += 2 * max(1, round(0.4 * width))
        color = DARK
    for limb in _limbs(figure, skeleton):
        _line(canvas, figure, limb, color, width)


def _draw_label(canvas: UInt8[np.ndarray, "H W 3"], figure: _Figure) -> None:
    """Write the label above the topmost keypoint on the canvas, if there is one."""
    height, width = canvas.shape[:2]
    shown = figure.points[figure.shown]
    inside = ((shown >= 0) & (shown < (width, height))).all(axis=1)
    if not inside.any():
        return
    long_side = max(height, width)
    text_height = np.clip(0.03 * figure.size, 0.014 * long_side, 0.021 * long_side)
    text_height = max(8, round(text_height))
    line = measure_text(figure.label, text_height)
    pad = max(2, round(0.35 * text_height))

    top_x, top_y = shown[inside][shown[inside][:, 1].argmin()]
    gap = 3 * figure.line_width(canvas)
    left = round(np.clip(top_x - line.width / 2 - pad, 0, width - line.width - 2 * pad))
    top = round(max(0, top_y - gap - text_height - 2 * pad))
    corner = (left + line.width + 2 * pad - 1, top + text_height + 2 * pad - 1)
    cv2.rectangle(canvas, (left, top), corner, DARK, cv2.FILLED)
    write_text(canvas, line, (left + pad, top + pad))


def _limbs(figure: _Figure, skeleton: Skeleton) -> list[tuple[int, int]]:
    return [limb for limb in skeleton.limbs if figure.shown[list(limb)].all()]


def side_color(skeleton: Skeleton, *keypoints: int) -> Color:
    """Return the color of the one side that keypoints are on, or that of neither."""
    sides = {skeleton.keypoints[index].partition("_")[0] for index in keypoints}
    sides &= {"left", "right"}
    return _SIDE_COLORS[sides.pop() if len(sides) == 1 else "center"]


def _line(
    canvas: UInt8[np.ndarray, "H W 3"],
    figure: _Figure,
    limb: tuple[int, int],
    color: Color,
    width: int,
) -> None:
    start, end = (_subpixel(figure.points[index]) for index in limb)
    cv2.line(canvas, start, end, color, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dot(
    canvas: UInt8[np.ndarray, "H W 3"],
    point: Float[np.ndarray, "2"],
    radius: float,
    color: Color,
) -> None:
    scaled = round(radius * 2**_SUBPIXEL_BITS)
    center = _subpixel(point)
    cv2.circle(canvas, center, scaled, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _subpixel(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    x, y = np.rint(point * 2**_SUBPIXEL_BITS).astype(int).tolist()
    return x, y
