"""Runs all cases of a folder."""

import functools
import importlib
import importlib.util
import pathlib
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from logocap_jax.methods import METHODS, build_config, find_method
from logocap_jax.parity.adaptive_conv import (
    check_adaptive_convolutions,
    holds_adaptive_convolutions,
)
from logocap_jax.parity.cases import array_names, find_cases, read_weights
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.dekr.forms import check_form, holds_form
from logocap_jax.parity.higherhrnet import check_tags, holds_tags
from logocap_jax.parity.scorer_rows import check_scorer_rows, holds_scorer_rows
from logocap_jax.parity.topdown.pieces import find_piece
from logocap_jax.parity.walk import check_stages
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.settings import read_settings

Check = Callable[[pathlib.Path], list[StageResult]]


def run_cases(
    folder: pathlib.Path, *, dtype: str = "float32"
) -> Iterator[list[StageResult]]:
    """Compare case by case, on the CPU and with full precision of products.

    Args:
      folder: as for `find_cases`.
      dtype: of the networks; errors are held against tolerances in float32 only.

    Yields:
      The results of each case.

    Raises:
      ValueError: no cases, or a case or its weights are malformed.
    """
    for path, cases in find_cases(folder).items():
        with (
            jax.default_device(jax.local_devices(backend="cpu")[0]),
            jax.default_matmul_precision("highest"),
        ):
            model = functools.cache(lambda path=path: _model_check(path, dtype))
            for case in cases:
                check = _check_without_weights(case, dtype) or model()
                yield check(case)


def _check_without_weights(path: pathlib.Path, dtype: str) -> Check | None:
    """The check of a case of something that no model's weights belong to.

    Its arrays tell it. Cases of associative embedding are of a part of a model, and of
    several methods.

    Raises:
      ValueError: if the file is damaged.
    """
    marks = dtype == "float32"
    with errors_naming(path):
        names = array_names(path)
    if holds_adaptive_convolutions(names):
        return partial(check_adaptive_convolutions, marks=marks)
    if holds_tags(names):
        return partial(check_tags, dtype=dtype, marks=marks)
    if piece := find_piece(names):
        return partial(piece, marks=marks)
    if holds_scorer_rows(names):
        return partial(check_scorer_rows, marks=marks)
    if holds_form(path, names):
        return partial(check_form, dtype=dtype, marks=marks)
    return None


def _model_check(folder: pathlib.Path, dtype: str) -> Check:
    """The check of the method that the weights of a folder belong to.

    That is `make_check` of the method's parity package, if it has one: the path of its
    package with `parity` in place of `methods`. It takes the method's settings and
    variables. If it has none, the method's named stages are walked.
    """
    variables = jax.tree.map(jnp.asarray, read_weights(folder))
    settings: dict[str, Any] = read_settings(variables) | {"dtype": dtype}
    name, marks = settings.pop("name"), dtype == "float32"
    package = _find_package(METHODS[name].replace(".methods.", ".parity."))
    if package is not None:
        check: Check = package.make_check(settings, variables, marks=marks)
        return check
    stages = find_method(name).stages(build_config(name, settings))
    if not stages:
        raise ValueError(f"method {name!r} names no stages to compare")
    return partial(
        check_stages, method=name, stages=stages, variables=variables, marks=marks
    )


def _find_package(name: str) -> types.ModuleType | None:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # nor is its parent there
        return None
    return importlib.import_module(name) if found else None
