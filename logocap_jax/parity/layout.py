"""Arrays of a case: their axes, and the way into this project's layout."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


def _same(array: np.ndarray) -> np.ndarray:
    return array


def channels_last(array: np.ndarray) -> np.ndarray:
    """`[B, C, ...]` -> `[B, ..., C]`."""
    return np.moveaxis(array, 1, -1)


def offset_maps(array: np.ndarray) -> np.ndarray:
    """`[B, 2K, h, w]`, `x0 y0 x1 y1 ...` -> `[B, h, w, K, 2]`."""
    last = channels_last(array)
    return last.reshape(*last.shape[:-1], -1, 2)


class Entry(NamedTuple):
    """An array that a case may hold.

    Attributes:
      axes: their names; those of one name have one length, numbers are lengths.
      convert: from the reference's layout to this project's.
      required: a case without it is refused.
      shown_by: the array that numbers its rows, of an array that holds a few only.
      rows_of: of such an array of numbers, the axis whose rows it numbers.
    """

    axes: str
    convert: Callable[[np.ndarray], np.ndarray] = _same
    required: bool = False
    shown_by: str | None = None
    rows_of: str | None = None


Layout = Mapping[str, Entry]


def from_torch(arrays: Arrays, layout: Layout, sizes: Mapping[str, int]) -> Arrays:
    """Check the arrays of a case and bring them into this project's layout.

    Args:
      arrays: as the reference has them; names that the layout lacks stay as they are.
      layout: the arrays to expect.
      sizes: axes whose size is known, e.g. `{"K": 17}`.

    Raises:
      ValueError: an array is missing, is not of numbers, or has a shape that does not
        fit those of the others.
    """
    bound = dict(sizes)
    converted = dict(arrays)
    for name, entry in layout.items():
        if name not in arrays:
            if entry.required:
                raise ValueError(
                    f"no array {name!r}; docs/parity.md lists what to dump"
                )
            continue
        _check_axes(name, arrays[name], entry.axes, bound)
        converted[name] = entry.convert(arrays[name])
        if entry.rows_of:
            _check_rows(name, arrays[name], bound.get(entry.rows_of, 0))
        if entry.shown_by and entry.shown_by not in arrays:
            raise ValueError(
                f"{name!r} without {entry.shown_by!r}, which names its rows"
            )
    return converted


def _check_rows(name: str, rows: np.ndarray, count: int) -> None:
    if rows.dtype.kind not in "iu" or not ((rows >= 0) & (rows < count)).all():
        raise ValueError(
            f"{name!r}: got {rows.dtype} {rows[:5].tolist()}, expected numbers of the "
            f"{count} rows"
        )


def _check_axes(name: str, array: np.ndarray, axes: str, bound: dict[str, int]) -> None:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name!r}: got {array.dtype}, expected numbers")
    expected = axes.split()
    sizes = [int(axis) if axis.isdigit() else bound.get(axis) for axis in expected]
    fits = len(sizes) == array.ndim and all(
        size in (None, got) for size, got in zip(sizes, array.shape, strict=True)
    )
    if not fits:
        known = {axis: bound[axis] for axis in expected if axis in bound}
        raise ValueError(
            f"{name!r}: got shape {array.shape}, expected ({', '.join(expected)})"
            + (f" with {known}" if known else "")
        )
    bound.update(
        (axis, got)
        for axis, got in zip(expected, array.shape, strict=True)
        if not axis.isdigit()
    )
