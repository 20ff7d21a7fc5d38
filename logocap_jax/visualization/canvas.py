"""Canvases and lines of text to draw with."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# RGB, on which white text and all colors of keypoints are easily seen.
DARK = (20, 20, 26)

Color = tuple[int, int, int]
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def enlarged(
    image: UInt8[np.ndarray, "H W 3"], min_side: int
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], float]:
    """Return a copy whose long side has at least `min_side` pixels, and its scale."""
    height, width = image.shape[:2]
    scale = max(1.0, min_side / max(height, width))
    if scale == 1.0:
        return np.ascontiguousarray(image).copy(), scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), scale


def scaled_points(
    points_image: Float[np.ndarray, "*n 2"], scale: float
) -> Float[np.ndarray, "*n 2"]:
    """Map points of an image to the canvas of `enlarged`.

    With half pixels: `cv2.resize` keeps the corners of the image, not the centers.
    """
    return (points_image.astype(np.float64) + 0.5) * scale - 0.5


def blank(height: int, width: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return a dark canvas."""
    return np.full((height, width, 3), DARK, np.uint8)


class Text(NamedTuple):
    """A line of ASCII text (OpenCV's fonts hold no more) and its size, px.

    The height is that of its capital letters, `thickness` that of the strokes.
    """

    text: str
    width: int
    height: int
    scale: float
    thickness: int


def measure_text(text: str, height: int) -> Text:
    """Find the size of a line whose capital letters are `height` px high."""
    thickness = max(1, round(0.09 * height))
    scale = cv2.getFontScaleFromHeight(_FONT, height, thickness)
    width = cv2.getTextSize(text, _FONT, scale, thickness)[0][0]
    return Text(text, width, height, scale, thickness)


def write_text(
    canvas: UInt8[np.ndarray, "H W 3"],
    line: Text,
    corner: tuple[int, int],
    color: Color = (255, 255, 255),
) -> None:
    """Write a line in RGB on a canvas; `corner` is the `(x, y)` of its top left."""
    baseline = (corner[0], corner[1] + line.height - 1)
    style = (_FONT, line.scale, color, line.thickness, cv2.LINE_AA)
    cv2.putText(canvas, line.text, baseline, *style)
