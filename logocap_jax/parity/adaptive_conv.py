"""The adaptive convolution by itself, in float64, and all its derivatives."""

import functools
import itertools
import pathlib
from collections.abc import Set

import jax
import numpy as np

from logocap_jax.ops.adaptive_conv import adaptive_convolution
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays, Entry, channels_last, from_torch
from logocap_jax.weights.containers import errors_naming

_TOLERANCE = 1e-12
# Of the release of the first method: no translation, and no derivative at exactly -1.
_WITHOUT_SHIFT = "ranking"


def _matrices(array: np.ndarray) -> np.ndarray:
    """`[B, 4, h, w]` -> `[B, h, w, 1, 2, 2]`."""
    last = channels_last(array)
    return last.reshape(*last.shape[:-1], 1, 2, 2)


def _vectors(array: np.ndarray) -> np.ndarray:
    """`[B, 2, h, w]` -> `[B, h, w, 1, 2]`."""
    return channels_last(array)[..., None, :]


def _kernel(array: np.ndarray) -> np.ndarray:
    """`[F, C, 3, 3]` -> `[3, 3, C, F]`."""
    return array.transpose(2, 3, 1, 0)


_INPUTS = {
    "x": Entry("B C h w", channels_last, required=True),
    "weight": Entry("F C 3 3", _kernel, required=True),
    "grad_output": Entry("B F h w", channels_last, required=True),
}
_POSITIONS = {
    "T": Entry("B 4 h w", _matrices, required=True),
    "t": Entry("B 2 h w", _vectors, required=True),
}
_RESULTS = {
    "output": Entry("B F h w", channels_last),
    "grad_x": Entry("B C h w", channels_last),
    "grad_weight": Entry("F C 3 3", _kernel),
    "grad_T": Entry("B 4 h w", _matrices),
    "grad_t": Entry("B 2 h w", _vectors),
}


def holds_adaptive_convolutions(names: Set[str]) -> bool:
    """True for the arrays of a case of the operation alone."""
    return {"T_random", "T_zero", "grad_output"} <= names


def check_adaptive_convolutions(
    path: pathlib.Path, *, marks: bool = True
) -> list[StageResult]:
    """Compare outputs and derivatives.

    Args:
      path: `.npz` with inputs, and results as `METHOD/dDILATION/POSITIONS/NAME`.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    with errors_naming(path), jax.enable_x64(True):
        arrays = read_arrays(path)
        compare = Comparison(case_name(path), marks=marks)
        groups = sorted({name.rpartition("/")[0] for name in arrays} - {""})
        for group in groups:
            if not group.startswith("other_edge_rule"):
                _check_group(compare, group, arrays)
        return compare.results


def _check_group(compare: Comparison, group: str, arrays: Arrays) -> None:
    """Compare the results of one rule, dilation and set of positions."""
    method, dilation, positions = group.split("/")
    layout = {
        **_INPUTS,
        **{f"{name}_{positions}": entry for name, entry in _POSITIONS.items()},
        **{f"{group}/{name}": entry for name, entry in _RESULTS.items()},
    }
    converted = from_torch(arrays, layout, {})
    shift = () if method == _WITHOUT_SHIFT else (converted[f"t_{positions}"],)
    inputs = (converted["x"], converted["weight"], converted[f"T_{positions}"], *shift)
    run = functools.partial(
        adaptive_convolution,
        dilation=int(dilation.removeprefix("d")),
        zero_at_border=method == _WITHOUT_SHIFT,
    )
    output, pull_back = jax.vjp(run, *map(jax.numpy.asarray, inputs))
    gradients = pull_back(jax.numpy.asarray(converted["grad_output"]))
    found = dict(zip(_RESULTS, itertools.chain([output], gradients), strict=False))
    for name, value in found.items():
        key = f"{group}/{name}"
        if key in arrays:
            compare.relative(
                key,
                np.asarray(value),
                converted[key],
                tolerance=_TOLERANCE,
                fed_with="x",
            )
