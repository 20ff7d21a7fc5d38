"""Walk a method's named stages, from the reference's arrays or end to end."""

import functools
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from logocap_jax.methods.base import Stage, Variables
from logocap_jax.methods.stages import VALID, run_stages
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import Poses
from logocap_jax.weights.containers import errors_naming

_TOLERANCE = 1e-5  # of the largest value
_START = ("image", "valid_size", "input_to_image")


class StageWalker:
    """Runs the stages of one model; each part is compiled once per shape.

    Attributes:
      stages: of the method, in order.
    """

    def __init__(self, stages: tuple[Stage, ...], variables: Variables) -> None:
        """Compile nothing yet.

        Args:
          stages: of the method.
          variables: of the method.
        """
        self.stages = stages
        self._variables = variables
        run = functools.partial(run_stages, stages)
        self._run = jax.jit(run, static_argnames="wanted")

    def __call__(self, given: Mapping[str, Any], *wanted: str) -> dict[str, Any]:
        """Compute wanted arrays from given ones; see `run_stages`."""
        return self._run(self._variables, dict(given), wanted=wanted)


def check_stages(
    path: pathlib.Path,
    method: str,
    stages: tuple[Stage, ...],
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare the arrays that each stage writes, end to end and alone, with a case.

    Args:
      path: `.npz` with `image`, uint8 `[B, H, W, 3]`, `valid_size` if any, and arrays
        under the names of the stages' arrays in this project's layout; a field of an
        array that is a record as `NAME/FIELD`, such as `poses/keypoints`; further
        inputs as `input_to_image` and `scaled/0`, `scaled/1`, ...
      method: its name.
      stages: its stages.
      variables: the case's.
      marks: hold errors against tolerances.

    Returns:
      Results in the order of the stages: first all from `image`, then each stage that
      the case has arrays for, from those.

    Raises:
      ValueError: damaged file, no image, or no array of a stage.
    """
    with errors_naming(path):
        arrays = read_arrays(path)
        written = [name for stage in stages for name in stage.writes]
        if not any(_fields_of(name, arrays) for name in written):
            raise ValueError(
                f"got arrays {', '.join(sorted(arrays)[:5])}, expected some of "
                f"{', '.join(written)}, those of method {method!r}"
            )
        image = arrays.get("image", np.empty(0))
        if image.dtype != np.uint8 or image.ndim != 4:
            raise ValueError(
                f"'image': got {image.dtype} {image.shape}, expected uint8 "
                f"[B, H, W, 3], an input of method {method!r}"
            )
        compare = Comparison(case_name(path), marks=marks)
        walker = StageWalker(stages, variables)
        start: dict[str, Any] = {name: arrays.get(name) for name in _START}
        numbered = itertools.takewhile(arrays.__contains__, _scaled_names())
        start["scaled"] = tuple(arrays[name] for name in numbered)
        found = walker(start, *written)
        given = {**found, **dict(_given(arrays, found))}
        for stage in stages:
            valid = np.asarray(found[VALID]) if stage.per_slot else None
            _check_stage(compare, stage, found, arrays, valid, "image")
        for stage in stages:
            fed = [name for name in stage.reads if _fields_of(name, arrays)]
            fed = [name for name in fed if name not in _START]
            if fed and any(_fields_of(name, arrays) for name in stage.writes):
                reads = {*stage.reads, VALID} & given.keys()
                values = start | {name: given[name] for name in reads}
                alone = walker(values, *stage.writes)
                valid = np.asarray(given[VALID]) if stage.per_slot else None
                _check_stage(compare, stage, alone, arrays, valid, ", ".join(fed))
        return compare.results


def _scaled_names() -> Iterator[str]:
    return (f"scaled/{number}" for number in itertools.count())


def _fields_of(name: str, arrays: Arrays) -> list[str]:
    return [key for key in arrays if key == name or key.startswith(f"{name}/")]


def _given(arrays: Arrays, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The stages' arrays that the case holds whole."""
    for name, value in found.items():
        leaves, tree = jax.tree_util.tree_flatten_with_path(value)
        inner = [
            jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves
        ]
        keys = [f"{name}/{key}".removesuffix("/") for key in inner]
        if keys and all(key in arrays for key in keys):
            yield name, jax.tree.unflatten(tree, [arrays[key] for key in keys])


def _check_stage(
    compare: Comparison,
    stage: Stage,
    found: Mapping[str, Any],
    arrays: Arrays,
    valid: np.ndarray | None,
    fed_with: str,
) -> None:
    """Compare the arrays of one stage that the case holds."""
    for name in stage.writes:
        for key, array, mask in _flatten(name, found[name], valid):
            if key in arrays:
                _check_array(
                    compare, f"{stage.name}: {key}", array, arrays[key], mask, fed_with
                )


def _flatten(
    name: str, value: Any, valid: Any
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Arrays by key, and a mask of their rows: False for slots without a pose."""
    if isinstance(value, Poses):
        for field, array in vars(value).items():
            mask = None if field == "valid" else value.valid
            yield from _flatten(f"{name}/{field}", array, mask)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}/{key}", inner, valid)
    elif isinstance(value, tuple | list):
        for number, inner in enumerate(value):
            yield from _flatten(f"{name}/{number}", inner, valid)
    elif value is not None:
        yield name, np.asarray(value), None if valid is None else np.asarray(valid)


def _check_array(
    compare: Comparison,
    stage: str,
    found: np.ndarray,
    expected: np.ndarray,
    mask: np.ndarray | None,
    fed_with: str,
) -> None:
    if mask is not None and found.shape == expected.shape:
        found, expected = found[mask], expected[mask]
    if found.dtype.kind in "biu":
        compare.absolute(stage, found, expected, tolerance=0.0, fed_with=fed_with)
    else:
        compare.relative(
            stage, found, expected, tolerance=_TOLERANCE, fed_with=fed_with
        )
