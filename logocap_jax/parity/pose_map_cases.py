"""Inference cases of the methods with pose maps: options, arrays, centres.

Arrays are those of `../shared/siblings/dekr/README.md`. Axes: `R` inputs of the network
(image, mirror image), `n` centres of all scales, `f` final poses; the rest as in
`structures`.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.pose_map import PoseMapConfig, find_centers
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.centers import check_centers
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.layout import (
    Arrays,
    Entry,
    Layout,
    channels_last,
    from_torch,
    offset_maps,
)
from logocap_jax.weights.containers import errors_naming


def map_last(array: np.ndarray) -> np.ndarray:
    """`[C, h, w]` -> `[1, h, w, C]`."""
    return np.moveaxis(array, 0, -1)[None]


def pose_map_last(array: np.ndarray) -> np.ndarray:
    """`[2K, h, w]`, `x0 y0 x1 y1 ...` -> `[1, h, w, K, 2]`."""
    return offset_maps(array[None])


COMMON: Layout = {
    "input": Entry("1 3 H W", channels_last),
    "image": Entry("H0 W0 3"),
    "input_mirror_right_edge": Entry("3 H E", map_last),
    "affine": Entry("2 3", required=True),
    "base_size": Entry("2", required=True),
    "input_sizes": Entry("S 2", required=True),
    "shown_fused": Entry("s", rows_of="K1"),
    "fused": Entry("s H W", map_last, shown_by="shown_fused"),
    "centers_index": Entry("n", required=True),
    "centers_score": Entry("n", required=True),
    "centers_per_scale": Entry("S", required=True),
    "poses_regressed": Entry("n K 2", required=True),
}
_INPUT = r"input(_\w+)?"
_MAPS = {"heatmaps": map_last, "posemap": pose_map_last}


class Case(NamedTuple):
    """One image through the test path.

    Attributes:
      name: folder and file name, for people.
      arrays: in this project's layout.
      scales: of the test, the largest first.
      inputs: normalised images `[1, H, W, 3]` by scale.
      heatmaps: averaged, `[1, h, w, K + 1]`, by scale; of those that the case holds.
      pose_maps: averaged, `[1, h, w, K, 2]`, likewise.
    """

    name: str
    arrays: Arrays
    scales: tuple[float, ...]
    inputs: dict[float, np.ndarray]
    heatmaps: dict[float, np.ndarray]
    pose_maps: dict[float, np.ndarray]

    @property
    def to_image(self) -> Float[np.ndarray, "1 2 3"]:
        """From input px of scale 1 to image px."""
        square = np.vstack([self.arrays["affine"], [0, 0, 1]])
        return np.linalg.inv(square)[None, :2].astype(np.float32)

    def scales_of_slots(self, slots: int) -> Iterator[tuple[float, slice, slice]]:
        """Scale, its slots (so many a scale), and its rows of `centers_index`."""
        first = 0
        for i, (scale, count) in enumerate(
            zip(self.scales, self.arrays["centers_per_scale"].tolist(), strict=True)
        ):
            yield scale, slice(i * slots, (i + 1) * slots), slice(first, first + count)
            first += count


def read_case(
    path: pathlib.Path,
    layout: Layout,
    config: PoseMapConfig,
    *,
    stride: int = STRIDE,
) -> Case:
    """Read a case, checked and in this project's layout.

    Maps and inputs of several scales are told by their sizes, whatever follows their
    names.

    Args:
      path: the file.
      layout: of the arrays beside `COMMON`.
      config: settings of the model.
      stride: input px per cell of the averaged maps.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    count = config.skeleton.num_keypoints
    with errors_naming(path):
        arrays = read_arrays(path)
        named = {**COMMON, **layout}
        one_scale = len(arrays.get("input_sizes", ())) <= 1
        if not one_scale:
            named = {k: v for k, v in named.items() if k != "input"}
        sizes = {"K": count, "K1": count + 1, "K2": 2 * count}
        converted = from_torch(arrays, named, sizes)
        scales = _find_scales(converted)
        pixels = converted["input_sizes"].astype(int)
        by_size, cells = (
            dict(zip(map(tuple, sizes.tolist()), scales, strict=True))
            for sizes in (pixels, pixels // stride)
        )
        inputs = _by_size(arrays, _INPUT, 4, by_size, channels_last)
        if set(inputs) != set(scales):
            raise ValueError(
                f"got inputs at scales {sorted(inputs)}, expected `input*` of each of "
                f"{converted['input_sizes'].tolist()}"
            )
        maps = (
            _by_size(arrays, rf"{name}(_\w+)?", 3, cells, convert)
            for name, convert in _MAPS.items()
        )
        return Case(case_name(path), converted, scales, inputs, *maps)


def _find_scales(arrays: Arrays) -> tuple[float, ...]:
    base = arrays["base_size"][::-1]
    scales = tuple((arrays["input_sizes"] / base)[:, 0].tolist())
    if list(scales) != sorted(set(scales), reverse=True) or 1.0 not in scales:
        raise ValueError(
            f"'input_sizes': got {arrays['input_sizes'].tolist()}, expected those of "
            f"different scales, largest first, {base.tolist()} among them"
        )
    return scales


def _by_size(
    arrays: Arrays,
    pattern: str,
    ndim: int,
    sizes: Mapping[tuple[int, ...], float],
    convert: Callable[[np.ndarray], np.ndarray],
) -> dict[float, np.ndarray]:
    """The arrays of a name by the scale that their size tells."""
    return {
        sizes[array.shape[-2:]]: convert(array)
        for name, array in arrays.items()
        if re.fullmatch(pattern, name)
        and array.ndim == ndim
        and array.shape[-2:] in sizes
    }


def test_options(
    path: pathlib.Path, arrays: Arrays, config: PoseMapConfig
) -> dict[str, Any]:
    """The options that a case was computed with.

    Arrays named as settings, such as `center_threshold`, tell them; else the scales
    follow from the sizes of the inputs, no flip test from a file name with `no_flip` or
    raw maps of one row, and switches from a file name that has theirs.
    """
    fields = {
        field.name: field
        for field in dataclasses.fields(config)
        if field.metadata.get("test_time")
    }
    options: dict[str, Any] = {"test_scales": _find_scales(arrays)}
    raw = arrays.get("heatmaps_raw", np.empty((2, 0)))
    options["flip_test"] = "no_flip" not in path.stem and len(raw) == 2
    for name, field in fields.items():
        if name in arrays:
            value = arrays[name].tolist()
            options[name] = tuple(value) if isinstance(value, list) else value
        elif field.default is False and name != "scorer":
            options[name] = name in path.stem
    return options


class Finder(NamedTuple):
    """Finds more centres than there are slots.

    So a tie that the reference's number of slots cuts in two is whole.

    Attributes:
      config: of the method.
    """

    config: PoseMapConfig

    def centers(self, center_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells and values, highest first."""
        cells, values, _ = find_centers(
            jnp.asarray(center_map),
            count=2 * self.config.num_slots,
            threshold=self.config.center_threshold,
        )
        return np.asarray(cells), np.asarray(values)


def check_all_centers(
    compare: Comparison,
    case: Case,
    config: PoseMapConfig,
    maps: Mapping[float, np.ndarray],
    noisy: Mapping[float, np.ndarray],
    *,
    fed_with: str,
    thresholds: Mapping[float, float] | None = None,
) -> dict[str, np.ndarray]:
    """Compare the centres of all scales; ties may have any order.

    Args:
      compare: takes the results.
      case: the case.
      config: settings.
      maps: our centre maps `[h, w]` by scale.
      noisy: those maps from an input that was changed by one rounding step.
      fed_with: as in `StageResult`.
      thresholds: of centres by scale; None: the method's one.

    Returns:
      `centers`, `center_values` and `center_valid` of all slots, `[1, M, ...]`, in the
      reference's order.
    """
    index, found, valid = case.arrays["centers_index"], [], []
    for scale, _, rows in case.scales_of_slots(config.num_slots):
        threshold = (thresholds or {}).get(scale, config.center_threshold)
        finder = Finder(dataclasses.replace(config, center_threshold=threshold))
        y, x = np.divmod(index[rows], maps[scale].shape[1])
        expected = np.stack([x, y, case.arrays["centers_score"][rows]], axis=-1)
        reference = case.heatmaps.get(scale)
        source = fed_with if len(case.scales) == 1 else f"{fed_with}, scale {scale:g}"
        found.append(
            check_centers(
                compare,
                expected,
                finder,
                maps[scale],
                noisy[scale],
                reference=None if reference is None else reference[0, ..., -1],
                fed_with=source,
            )
        )
        valid.append(found[-1].values > threshold)
    values = np.concatenate([ordered.values for ordered in found])[None]
    return {
        "centers": np.concatenate([ordered.centers for ordered in found])[None],
        "center_values": values,
        "center_valid": np.concatenate(valid)[None],
    }


def pad_slots(
    case: Case, rows: np.ndarray, slots: int
) -> Float[np.ndarray, "1 M *rest"]:
    """The reference's rows of all scales in our slots; others are 0."""
    padded = np.zeros((1, slots * len(case.scales), *rows.shape[1:]), rows.dtype)
    for _, place, source in case.scales_of_slots(slots):
        count = source.stop - source.start
        padded[0, place.start : place.start + count] = rows[source]
    return padded


def rows_of_slots(valid: np.ndarray, slots: Sequence[int]) -> list[int]:
    """The row of each slot among the valid ones."""
    rows = np.cumsum(valid) - 1
    return [int(rows[slot]) for slot in slots]
