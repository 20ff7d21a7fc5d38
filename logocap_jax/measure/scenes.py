"""Inputs made by hand, with a chosen number of people in them."""

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipeline.drawn.background import draw_background
from data_pipeline.feed.examples import full_masks, make_example
from logocap_jax.geometry import STRIDE
from logocap_jax.structures import Batch, DenseMaps

# Of the drawn centres and keypoints, cells: narrower than what separates people.
_SIGMA = 1.0
# Off the cell's middle, or a centre would upsample to four equal peaks.
_FRACTION = 0.3


def draw_maps(
    people: int,
    *,
    height: int,
    width: int,
    num_keypoints: int,
    embedding: int,
    seed: int = 0,
) -> DenseMaps:
    """Dense maps of one image, as a network that is sure would predict them.

    People stand on a grid, each with a clear centre, keypoints around it, and offsets
    that point to them; the embedding is noise.

    Args:
      people: how many.
      height: h, cells.
      width: w, cells.
      num_keypoints: K.
      embedding: D.
      seed: of the noise.

    Returns:
      NumPy arrays, without a batch axis.

    Raises:
      ValueError: if the maps are too small for so many people.
    """
    rng = np.random.default_rng(seed)
    centers, reach = _grid(people, height, width)
    turns = np.linspace(0, 2 * np.pi, num_keypoints, endpoint=False)
    around = reach * np.stack([np.cos(turns), np.sin(turns)], axis=-1)  # [K, 2]
    keypoints = centers[:, None] + around  # [P, K, 2]
    points = np.concatenate([keypoints, centers[:, None]], axis=1)  # [P, K1, 2]
    y, x = np.arange(height), np.arange(width)
    rows, columns = _profile(y - points[..., 1:]), _profile(x - points[..., :1])
    heatmaps = np.max(rows[..., :, None] * columns[..., None, :], axis=0)
    cells = np.stack(np.meshgrid(x, y), axis=-1)  # [h, w, 2]
    distances = np.linalg.norm(cells[:, :, None] - centers, axis=-1)  # [h, w, P]
    owner = np.argmin(distances, axis=-1)
    # `center - offset` is the keypoint wherever in the person's region it is read.
    offsets = (centers[:, None] - keypoints)[owner]  # [h, w, K, 2]
    maps: dict[str, Any] = {
        "heatmaps": np.moveaxis(heatmaps, 0, -1),
        "offsets": offsets,
        "embedding": rng.standard_normal((height, width, embedding)),
    }
    return DenseMaps(**{name: x.astype(np.float32) for name, x in maps.items()})


def _profile(distance: Float[np.ndarray, "P K1 n"]) -> Float[np.ndarray, "P K1 n"]:
    """A Gaussian, cut off before it reaches the border.

    There, upsampled values come in pairs, so that a peak is found whatever they are.
    """
    value = np.exp(-np.square(distance) / (2 * _SIGMA**2))
    return np.where(np.abs(distance) < 2.5 * _SIGMA, value, 0)


def _grid(
    people: int, height: int, width: int
) -> tuple[Float[np.ndarray, "P 2"], float]:
    """Centres in cells, and how far from them there is room for keypoints."""
    columns = math.ceil(math.sqrt(people * width / height))
    rows = math.ceil(people / columns)
    pitch = min(width // columns, height // rows)
    if people < 1 or pitch < 8 * _SIGMA:
        raise ValueError(
            f"got {people} people, expected 1 or more, and at least "
            f"{8 * _SIGMA * STRIDE:.0f} px for each on {width * STRIDE} x "
            f"{height * STRIDE} px"
        )
    row, column = np.divmod(np.arange(people), columns)
    places = np.stack([column, row], axis=-1)
    return pitch * places + pitch // 2 + _FRACTION, pitch / 4


def draw_truth(
    people: int, *, size: tuple[int, int], max_people: int, kinds: int
) -> Batch:
    """A training example of noise, with keypoints of people somewhere on it.

    Args:
      people: how many.
      size: `(height, width)`, input px.
      max_people: P, places for people.
      kinds: K, keypoints.

    Returns:
      NumPy arrays, without a batch axis.

    Raises:
      ValueError: if there are more people than places.
    """
    if not 0 < people <= max_people:
        raise ValueError(f"got {people} people, expected 1 to {max_people}")
    rng = np.random.default_rng(0)
    height, width = size
    points = rng.uniform(0, 1, (max_people, kinds, 2)) * (width - 1, height - 1)
    points = points[:people]
    example = make_example(
        rng.integers(0, 255, (height, width, 3), np.uint8),
        masks=full_masks((width, height)),
        keypoints=points,
        labelled=np.ones((people, kinds), bool),
        area=np.full(people, height * width / 4),
        has_center=np.ones(people, bool),
        box=np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1),
        max_people=max_people,
    )
    return Batch(**example)


def write_photographs(folder: Path, count: int, *, size: tuple[int, int]) -> list[Path]:
    """Write JPEG files of `(height, width)` px, drawn rooms without people.

    Returns:
      Their paths.
    """
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels: UInt8[np.ndarray, "H W 3"] = draw_background(rng, max(size))
        crop = pixels[: size[0], : size[1]]
        paths.append(folder / f"{number}.jpg")
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        paths[-1].write_bytes(encoded.tobytes())
    return paths
