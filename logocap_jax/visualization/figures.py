"""Drawing one person: limbs, keypoints and label."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization import text
from logocap_jax.visualization.canvas import DARK
from logocap_jax.visualization.text import Color

# RGB. Orange and blue stay apart for color-blind eyes too.
_SIDE_COLORS: dict[str, Color] = {
    "left": (255, 140, 0),
    "right": (0, 150, 255),
    "center": (150, 230, 110),
}
_WHITE: Color = (255, 255, 255)
_SUBPIXEL_BITS = 4


@dataclasses.dataclass(frozen=True)
class Figure:
    """One person to draw, canvas px.

    Attributes:
      points: the keypoints.
      shown: which of them to draw.
      label: what stands above it.
      size: diagonal of the box around the shown keypoints.
    """

    points: Float[np.ndarray, "K 2"]
    shown: Bool[np.ndarray, " K"]
    label: str
    size: float

    def line_width(self, canvas: UInt8[np.ndarray, "H W 3"]) -> int:
        """Width that follows the person's size within bounds of the canvas's, px."""
        long_side = max(canvas.shape)
        width = np.clip(0.011 * self.size, 0.002 * long_side, 0.006 * long_side)
        return max(1, round(width))


def draw_thick(
    canvas: UInt8[np.ndarray, "H W 3"], figure: Figure, skeleton: Skeleton
) -> None:
    """Draw limbs and keypoints in the colors of their sides, with a dark outline.

    Args:
      canvas: RGB, drawn upon.
      figure: the person.
      skeleton: names and limbs of the keypoints.
    """
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


def draw_thin(
    canvas: UInt8[np.ndarray, "H W 3"],
    figure: Figure,
    skeleton: Skeleton,
    *,
    outline: bool,
) -> None:
    """Draw limbs as thin white lines.

    Args:
      canvas: RGB, drawn upon.
      figure: the person.
      skeleton: names and limbs of the keypoints.
      outline: draw the wider dark lines that belong under the white ones instead.
    """
    width = max(1, round(0.35 * figure.line_width(canvas)))
    color = _WHITE
    if outline:
        width += 2 * max(1, round(0.4 * width))
        color = DARK
    for limb in _limbs(figure, skeleton):
        _line(canvas, figure, limb, color, width)


def draw_label(canvas: UInt8[np.ndarray, "H W 3"], figure: Figure) -> None:
    """Write the label above the topmost keypoint on the canvas, if there is one.

    Args:
      canvas: RGB, drawn upon.
      figure: the person.
    """
    height, width = canvas.shape[:2]
    shown = figure.points[figure.shown]
    inside = ((shown >= 0) & (shown < (width, height))).all(axis=1)
    if not inside.any():
        return
    long_side = max(height, width)
    text_height = np.clip(0.03 * figure.size, 0.014 * long_side, 0.021 * long_side)
    text_height = max(8, round(text_height))
    line = text.measure(figure.label, text_height)
    pad = max(2, round(0.35 * text_height))

    top_x, top_y = shown[inside][shown[inside][:, 1].argmin()]
    gap = 3 * figure.line_width(canvas)
    left = round(np.clip(top_x - line.width / 2 - pad, 0, width - line.width - 2 * pad))
    top = round(max(0, top_y - gap - text_height - 2 * pad))
    corner = (left + line.width + 2 * pad - 1, top + text_height + 2 * pad - 1)
    cv2.rectangle(canvas, (left, top), corner, DARK, cv2.FILLED)
    text.write(canvas, line, (left + pad, top + pad))


def _limbs(figure: Figure, skeleton: Skeleton) -> list[tuple[int, int]]:
    return [limb for limb in skeleton.limbs if figure.shown[list(limb)].all()]


def side_color(skeleton: Skeleton, *keypoints: int) -> Color:
    """Return the color of the one side that keypoints are on, or that of neither."""
    sides = {skeleton.keypoints[index].partition("_")[0] for index in keypoints}
    sides &= {"left", "right"}
    return _SIDE_COLORS[sides.pop() if len(sides) == 1 else "center"]


def _line(
    canvas: UInt8[np.ndarray, "H W 3"],
    figure: Figure,
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
    cv2.circle(
        *(canvas, _subpixel(point), scaled, color, cv2.FILLED),
        *(cv2.LINE_AA, _SUBPIXEL_BITS),
    )


def _subpixel(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    x, y = np.rint(point * 2**_SUBPIXEL_BITS).astype(int).tolist()
    return x, y
