"""Arrays of a case: their names, axes, and the way into this project's layout.

Axes: `R` network inputs (image and, with the flip test, its mirror image), `B`
training images, `n` centers, `s` shown rows, `m` poses, `f` final poses, `t` slots
that take part, `E` mesh side, `G` window side; the rest as in `structures`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def _offset_maps(array: np.ndarray) -> np.ndarray:
    """`[B, 2K, h, w]`, `x0 y0 x1 y1 ...` -> `[B, h, w, K, 2]`."""
    last = np.moveaxis(array, 1, -1)
    return last.reshape(*last.shape[:-1], -1, 2)


class _Entry(NamedTuple):
    axes: str
    convert: Callable[[np.ndarray], np.ndarray] = _same
    required: bool = False


Layout = Mapping[str, _Entry]

INFERENCE: Layout = {
    "image": _Entry("H0 W0 3", required=True),
    "input": _Entry("1 3 H W", _channels_last),
    "affine": _Entry("3 3"),
    "features": _Entry("R C h w", _channels_last),
    "embedding": _Entry("R D h w", _channels_last),
    "heatmaps_raw": _Entry("R K1 h w", _channels_last, required=True),
    "offsets_raw": _Entry("R K2 h w", _offset_maps),
    "offsets": _Entry("1 K2 h w", _offset_maps),
    "center_heatmap_fullres": _Entry("1 1 H W", _channels_last),
    "centers": _Entry("n 3", required=True),
    "kem_grid": _Entry("n E E K 2"),
    "shown_instances": _Entry("s"),
    "latent": _Entry("s KD E E", _channels_last),
    "kam_raw": _Entry("n K E E", _channels_last),
    "global_in": _Entry("s K G G"),
    "global_out": _Entry("s K G G"),
    "poses": _Entry("m K 3", required=True),
    "scores": _Entry("m", required=True),
    "final_keypoints": _Entry("f K 3", required=True),
    "final_scores": _Entry("f", required=True),
}

TRAINING: Layout = {
    "input": _Entry("B 3 H W", _channels_last, required=True),
    "heatmap_target": _Entry("B K1 h w", _channels_last, required=True),
    "heatmap_weight": _Entry("B 1 h w", _channels_last, required=True),
    "offset_target": _Entry("B K2 h w", _offset_maps, required=True),
    "offset_weight": _Entry("B K2 h w", _offset_maps, required=True),
    "heatmaps": _Entry("B K1 h w", _channels_last),
    "offsets": _Entry("B K2 h w", _offset_maps),
    "centers": _Entry("B N 3"),
    "kem_grid": _Entry("B N E E K 2"),
    "kam": _Entry("t K E E", _channels_last),
    "kam_target": _Entry("t K E E", _channels_last),
    "oks_person": _Entry("t E E"),
    "shown_slots": _Entry("s"),
    "refined": _Entry("s K G G"),
    "refined_target": _Entry("s K G G"),
    "refined_mean": _Entry("t K"),
    "refined_target_mean": _Entry("t K"),
    "losses": _Entry("L 4", required=True),
}

# One of each per image of a training case; the image's number follows the name.
PER_IMAGE: Layout = {
    "hflip_": _Entry("", required=True),
    "joints_with_center_": _Entry("P K1 3", required=True),
    "joint_areas_": _Entry("P 1", required=True),
}

# Arrays that are rows of others; what says which rows.
_SHOWN_BY = {
    "latent": "shown_instances",
    "global_in": "shown_instances",
    "global_out": "shown_instances",
    "refined": "shown_slots",
    "refined_target": "shown_slots",
}

_ROWS_OF = {"shown_instances": "n", "shown_slots": "t"}


def to_ours(arrays: Arrays, layout: Layout, sizes: Mapping[str, int]) -> Arrays:
    """Check the arrays of a case and bring them into this project's layout.

    Args:
      arrays: as the reference has them; names that the layout lacks stay as they are.
      layout: what to expect.
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
        if name in _ROWS_OF:
            _check_rows(name, arrays[name], bound.get(_ROWS_OF[name], 0))
        if _SHOWN_BY.get(name, name) not in arrays:
            raise ValueError(
                f"{name!r} without {_SHOWN_BY[name]!r}, which names its rows"
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
