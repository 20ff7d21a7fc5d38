"""What pictures are drawn upon."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# RGB, on which white text and all colors of keypoints are easily seen.
DARK = (20, 20, 26)


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
    """Points of an image where they are once `enlarged` has scaled it.

    With half pixels: `cv2.resize` keeps the corners of the image, not the centers.
    """
    return (points_image.astype(np.float64) + 0.5) * scale - 0.5


def blank(height: int, width: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return a dark canvas."""
    return np.full((height, width, 3), DARK, np.uint8)
