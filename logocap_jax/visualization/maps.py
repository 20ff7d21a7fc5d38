"""Dense maps over their image: where each channel fires."""

import colorsys
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.visualization.canvas import blank, enlarged, measure_text, write_text

_BRIGHTNESS = 0.55  # of the image under the maps
# Hues of the sides, from the first keypoint to the last: left is warm, right is cool.
# Those of tags go all the way round.
_HUES = {"left": (-0.08, 0.16), "right": (0.38, 0.72), "tag": (0.0, 0.875)}


def draw_maps(
    image: UInt8[np.ndarray, "H W 3"],
    maps: Float[np.ndarray, "h w C"],
    cell_to_image: Float[np.ndarray, "2 3"],
    *,
    names: Sequence[str],
    min_side: int = 512,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw maps over a grey image, each in its own color, and a legend below.

    Args:
      image: RGB; left unchanged. If its long side is shorter than `min_side`, it is
        enlarged to it first.
      maps: values are clipped to 0..1; full color stands for 1.
      cell_to_image: from cells of the maps to pixels of the image.
      names: of the channels; `left_...`, `right_...` and `tag_...` decide the color.
      min_side: least long side of the picture, px, without the legend.

    Raises:
      ValueError: if there is not a name per map, or a map has a NaN or infinity.
    """
    if maps.shape[2] != len(names) or not np.isfinite(maps).all():
        raise ValueError(
            f"got maps of shape {maps.shape}, expected finite ones of the {len(names)} "
            f"channels {', '.join(names)}"
        )
    canvas, scale = enlarged(image, min_side)
    height, width = canvas.shape[:2]
    colors = channel_colors(names)
    to_canvas = scale * cell_to_image.astype(np.float64)
    to_canvas[:, 2] += 0.5 * (scale - 1)
    layer = cv2.warpAffine(_blend(maps, colors), to_canvas, (width, height))
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    color, opacity = layer[..., :3], layer[..., 3:]
    picture = _BRIGHTNESS * grey * (1 - opacity) + 255 * color
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return np.concatenate([picture, _legend(names, colors, canvas.shape)])


def channel_colors(names: Sequence[str]) -> UInt8[np.ndarray, "C 3"]:
    """A color for each channel: left ones warm, right ones cool, most others white."""
    sides = [name.partition("_")[0] for name in names]
    colors = np.full((len(sides), 3), 255, np.uint8)
    for side, (first, last) in _HUES.items():
        indices = [index for index, other in enumerate(sides) if other == side]
        hues = np.linspace(first, last, len(indices))
        for index, hue in zip(indices, hues, strict=True):
            colors[index] = np.round(
                255 * np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, 1))
            )
    return colors


def _blend(
    maps: Float[np.ndarray, "h w C"], colors: UInt8[np.ndarray, "C 3"]
) -> Float[np.ndarray, "h w 4"]:
    """Color (times opacity) and opacity of each cell; the strongest channels win."""
    values = np.clip(maps, 0, 1).astype(np.float32)
    weights = np.square(values)
    weights /= np.maximum(weights.sum(axis=2, keepdims=True), 1e-12)
    opacity = values.max(axis=2, keepdims=True) ** 0.7
    mixed = weights @ (colors.astype(np.float32) / 255)
    return np.concatenate([mixed * opacity, opacity], axis=2)


def _legend(
    names: Sequence[str], colors: UInt8[np.ndarray, "C 3"], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "H W 3"]:
    """Names of the channels beside their colors, in as many rows as they need."""
    letters = max(8, round(0.016 * max(shape)))
    order = sorted(range(len(colors)), key=lambda channel: names[channel][:5])
    lines = [measure_text(names[k].replace("_", " "), letters) for k in order]
    places = list(
        _flow([line.width + 2 * letters for line in lines], shape[1], letters)
    )
    canvas = blank(places[-1][1] + 2 * letters, shape[1])
    for line, color, (x, y) in zip(lines, colors[order].tolist(), places, strict=True):
        chip = (x + letters - 1, y + letters - 1)
        cv2.rectangle(canvas, (x, y), chip, tuple(color), cv2.FILLED)
        write_text(canvas, line, (x + round(1.5 * letters), y))
    return canvas


def _flow(widths: list[int], limit: int, gap: int) -> Iterator[tuple[int, int]]:
    """Corners of things in a row after another, `gap` px from each other."""
    x = y = gap
    for width in widths:
        if x + width > limit and x > gap:
            x, y = gap, y + 2 * gap
        yield x, y
        x += width + gap
