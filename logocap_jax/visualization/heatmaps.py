"""Keypoint heatmaps over their image: which keypoint fires where."""

import colorsys
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization import text
from logocap_jax.visualization.canvas import blank, enlarged

# Hues of the sides, from the first keypoint to the last: left is warm, right is cool.
_HUES = {"left": (-0.08, 0.16), "right": (0.38, 0.72)}


def draw_heatmaps(
    image: UInt8[np.ndarray, "H W 3"],
    heatmaps: Float[np.ndarray, "h w K"],
    cell_to_image: Float[np.ndarray, "2 3"],
    *,
    skeleton: Skeleton,
    brightness: float = 0.55,
    min_side: int = 512,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw heatmaps over a grey image, each in its own color, and a legend below.

    Args:
      image: RGB; left unchanged.
      heatmaps: values are clipped to 0..1; full color stands for 1.
      cell_to_image: from cells of the heatmaps to pixels of the image.
      skeleton: names of the K keypoints.
      brightness: of the image under the heatmaps.
      min_side: an image whose long side is shorter is enlarged to it first.

    Returns:
      RGB, as wide as the image (or enlarged), and higher by the legend.

    Raises:
      ValueError: if there are other than K heatmaps, or one has a NaN or infinity.
    """
    if heatmaps.shape[2] != skeleton.num_keypoints or not np.isfinite(heatmaps).all():
        raise ValueError(
            f"got heatmaps of shape {heatmaps.shape}, expected finite ones of the "
            f"{skeleton.num_keypoints} keypoints of skeleton {skeleton.name!r}"
        )
    canvas, scale = enlarged(image, min_side)
    height, width = canvas.shape[:2]
    colors = keypoint_colors(skeleton)
    to_canvas = scale * cell_to_image.astype(np.float64)
    to_canvas[:, 2] += 0.5 * (scale - 1)
    layer = cv2.warpAffine(_blend(heatmaps, colors), to_canvas, (width, height))
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    color, opacity = layer[..., :3], layer[..., 3:]
    picture = brightness * grey * (1 - opacity) + 255 * color
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return np.concatenate([picture, _legend(skeleton, colors, canvas.shape)])


def keypoint_colors(skeleton: Skeleton) -> UInt8[np.ndarray, "K 3"]:
    """A color for each keypoint: left ones warm, right ones cool, others white."""
    sides = [name.partition("_")[0] for name in skeleton.keypoints]
    colors = np.full((len(sides), 3), 255, np.uint8)
    for side, (first, last) in _HUES.items():
        own = [index for index, other in enumerate(sides) if other == side]
        for index, hue in zip(own, np.linspace(first, last, len(own)), strict=True):
            colors[index] = np.round(
                255 * np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, 1))
            )
    return colors


def _blend(
    heatmaps: Float[np.ndarray, "h w K"], colors: UInt8[np.ndarray, "K 3"]
) -> Float[np.ndarray, "h w 4"]:
    """Color (times opacity) and opacity of each cell; the strongest keypoints win."""
    values = np.clip(heatmaps, 0, 1).astype(np.float32)
    weights = np.square(values)
    weights /= np.maximum(weights.sum(axis=2, keepdims=True), 1e-12)
    opacity = values.max(axis=2, keepdims=True) ** 0.7
    mixed = weights @ (colors.astype(np.float32) / 255)
    return np.concatenate([mixed * opacity, opacity], axis=2)


def _legend(
    skeleton: Skeleton, colors: UInt8[np.ndarray, "K 3"], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "H W 3"]:
    """Names of the keypoints beside their colors, in as many rows as they need."""
    letters = max(8, round(0.016 * max(shape)))
    order = sorted(range(len(colors)), key=lambda k: skeleton.keypoints[k][:5])
    names = [skeleton.keypoints[index].replace("_", " ") for index in order]
    lines = [text.measure(name, letters) for name in names]
    places = list(
        _flow([line.width + 2 * letters for line in lines], shape[1], letters)
    )
    canvas = blank(places[-1][1] + 2 * letters, shape[1])
    for line, color, (x, y) in zip(lines, colors[order].tolist(), places, strict=True):
        chip = (x + letters - 1, y + letters - 1)
        cv2.rectangle(canvas, (x, y), chip, tuple(color), cv2.FILLED)
        text.write(canvas, line, (x + round(1.5 * letters), y))
    return canvas


def _flow(widths: list[int], limit: int, gap: int) -> Iterator[tuple[int, int]]:
    """Corners of things in a row after another, `gap` px from each other."""
    x = y = gap
    for width in widths:
        if x + width > limit and x > gap:
            x, y = gap, y + 2 * gap
        yield x, y
        x += width + gap
