"""Text on pictures, of a given height."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

_FONT = cv2.FONT_HERSHEY_SIMPLEX

Color = tuple[int, int, int]


class Text(NamedTuple):
    """A line of text with its size, px.

    Attributes:
      text: ASCII, all that OpenCV's fonts hold.
      width: of the line.
      height: of its capital letters.
      scale: OpenCV's font scale.
      thickness: of the strokes.
    """

    text: str
    width: int
    height: int
    scale: float
    thickness: int


def measure(text: str, height: int) -> Text:
    """Find the size of a line whose capital letters are `height` px high."""
    thickness = max(1, round(0.09 * height))
    scale = cv2.getFontScaleFromHeight(_FONT, height, thickness)
    width = cv2.getTextSize(text, _FONT, scale, thickness)[0][0]
    return Text(text, width, height, scale, thickness)


def write(
    canvas: UInt8[np.ndarray, "H W 3"],
    line: Text,
    corner: tuple[int, int],
    color: Color = (255, 255, 255),
) -> None:
    """Write a line.

    Args:
      canvas: RGB, drawn upon.
      line: what to write.
      corner: `(x, y)` of its top left.
      color: RGB.
    """
    baseline = (corner[0], corner[1] + line.height - 1)
    cv2.putText(
        *(canvas, line.text, baseline, _FONT, line.scale, color),
        *(line.thickness, cv2.LINE_AA),
    )
