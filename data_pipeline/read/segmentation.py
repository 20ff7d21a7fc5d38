"""COCO segmentations: polygons, or run lengths in column order, plain or compressed.

pycocotools fills the mask of run lengths that end early with whatever memory held,
so run lengths are checked and decoded here; it renders only the polygons.
"""

from typing import Any

import numpy as np
import pycocotools.mask
from jaxtyping import Bool

MAX_COORDINATE = 1e5


def check_segmentation(segmentation: Any, shape: tuple[int, int]) -> None:
    """Check a parsed `segmentation` against the image's `(height, width)`.

    Raises:
      ValueError: if it is neither polygons nor run lengths that fill the image.
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
    else:
        _run_lengths(segmentation, shape)


def decode_segmentation(
    segmentation: Any, shape: tuple[int, int]
) -> Bool[np.ndarray, "H0 W0"]:
    """Render a parsed `segmentation` as a mask of the image's `(height, width)`.

    Raises:
      ValueError: as `check_segmentation`.
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
        polygons = pycocotools.mask.frPyObjects(segmentation, *shape)
        counts = pycocotools.mask.merge(polygons)["counts"].decode()
        segmentation = {"size": list(shape), "counts": counts}
    lengths = _run_lengths(segmentation, shape)
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(shape[::-1]).T


def _check_polygons(polygons: list[Any]) -> None:
    if not polygons:
        raise ValueError("got a segmentation without polygons, expected at least one")
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not all(type(number) in (int, float) for number in polygon)
            or not all(abs(number) <= MAX_COORDINATE for number in polygon)
        ):
            raise ValueError(
                "got a segmentation with a bad polygon, expected "
                f"[x, y, x, y, x, y, ...] with numbers up to {MAX_COORDINATE:g}"
            )


def _run_lengths(segmentation: Any, shape: tuple[int, int]) -> list[int]:
    """Lengths of the runs, the first of them of zeros."""
    keys = {"size", "counts"}
    if not isinstance(segmentation, dict) or not keys <= segmentation.keys():
        raise ValueError(
            "got a segmentation that is neither polygons nor run lengths with `size` "
            "and `counts`"
        )
    if segmentation["size"] != list(shape):
        raise ValueError(
            f"got a segmentation of size {segmentation['size']!r:.40}, expected the "
            f"image's [height, width] {list(shape)}"
        )
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts = _decompress(counts)
    whole = isinstance(counts, list) and all(
        type(count) is int and count >= 0 for count in counts
    )
    if not whole or sum(counts) != shape[0] * shape[1]:
        raise ValueError(
            "got a segmentation whose run lengths do not fill the image, expected "
            f"their sum to be {shape[0] * shape[1]}"
        )
    return counts


def _decompress(text: str) -> list[int]:
    """Undo COCO's text form of run lengths.

    Each character holds five bits, low ones first, and says whether more follow; the
    last one's top bit is the sign. From the fourth number on, differences to the
    number two places before are stored.
    """
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    return numbers
