"""Runs all cases of a folder."""

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
from logocap_jax.methods.base import Variables
from logocap_jax.parity.cases import find_cases, read_weights
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.walk import check_stages
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
            variables = jax.tree.map(jnp.asarray, read_weights(path))
            check = _make_check(variables, dtype)
            for case in cases:
                yield check(case)


def _make_check(variables: Variables, dtype: str) -> Check:
    """The check of the method that weights belong to.

    That is `make_check` of the method's parity package, if it has one: the path of its
    package with `parity` in place of `methods`. It takes the method's settings and
    variables. If it has none, the method's named stages are walked.
    """
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
