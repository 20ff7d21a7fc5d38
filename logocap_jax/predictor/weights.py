"""A method and its variables, from nothing but weights."""

from pathlib import Path
from typing import Any

import jax

from logocap_jax.methods import build_config, build_method
from logocap_jax.methods.base import Method, Variables
from logocap_jax.skeletons import Skeleton, parse_skeleton
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import load_weights
from logocap_jax.weights.settings import read_settings, saved_settings
from logocap_jax.weights.state_dict import fit
from logocap_jax.weights.trees import flatten


def load_method(
    path: Path, changes: dict[str, Any]
) -> tuple[Method, Variables, Skeleton]:
    """Load weights and build the method that they are of.

    Args:
      path: a run of `train.py`, or any file that `logocap convert` reads or writes.
      changes: settings that replace those found.

    Raises:
      ValueError: unreadable, not a known method, or settings that do not fit.
    """
    settings, variables = load_settings(path, changes)
    method = build_fitting(path, settings, variables)
    return method, variables, skeleton_of(settings)


def load_settings(
    path: Path, changes: dict[str, Any]
) -> tuple[dict[str, Any], Variables]:
    """Load weights and what is known of the method that they are of.

    A run knows its settings; from other weights the sizes are read, and all else is
    the reference's.

    Args:
      path: as for `load_method`.
      changes: settings that replace those found.

    Returns:
      The method's `name` and its settings; the weights.

    Raises:
      ValueError: unreadable, or not of a known method.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such weights, expected a file or a folder")
    variables = load_weights(path)
    settings = saved_settings(path)
    if settings is None:
        with errors_naming(path):
            given = changes.get("skeleton")
            settings = read_settings(variables, given and parse_skeleton(given))
    return settings | changes, variables


def skeleton_of(settings: dict[str, Any]) -> Skeleton:
    """The keypoints of the method with these settings, from `load_settings`."""
    others = {key: value for key, value in settings.items() if key != "name"}
    return build_config(settings["name"], others).skeleton


def build_fitting(path: Path, settings: dict[str, Any], variables: Variables) -> Method:
    """Build the method that weights are of, from `load_settings`.

    Raises:
      ValueError: settings that are unknown or do not fit the weights; names `path`.
    """
    method = build_from(path, settings)
    with errors_naming(path):
        shapes = jax.eval_shape(method.init, jax.random.key(0))
        expected = {name: leaf.shape for name, leaf in flatten(shapes).items()}
        arrays = flatten(variables)
        _, report = fit(arrays, expected, names={name: name for name in arrays})
        report.require_complete()
    return method


def build_from(path: Path, settings: dict[str, Any]) -> Method:
    """Build the method with these settings, from `load_settings`.

    Raises:
      ValueError: settings that are unknown or have no meaning; names `path`.
    """
    others = {key: value for key, value in settings.items() if key != "name"}
    with errors_naming(path):
        return build_method(settings["name"], others)
