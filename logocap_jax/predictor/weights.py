"""A method and its variables, from nothing but weights."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from logocap_jax.methods import build_config, build_method
from logocap_jax.methods.base import Method, Variables
from logocap_jax.models.placement import formats
from logocap_jax.predictor import traces
from logocap_jax.predictor.predictor import PredictFn
from logocap_jax.skeletons import Skeleton, parse_skeleton
from logocap_jax.structures import Poses, View
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
    method = _build(path, settings)
    with errors_naming(path):
        shapes = jax.eval_shape(method.init, jax.random.key(0))
        expected = {name: leaf.shape for name, leaf in flatten(shapes).items()}
        arrays = flatten(variables)
        _, report = fit(arrays, expected, names={name: name for name in arrays})
        report.require_complete()
    return method


def _build(path: Path, settings: dict[str, Any]) -> Method:
    others = {key: value for key, value in settings.items() if key != "name"}
    with errors_naming(path):
        return build_method(settings["name"], others)


def compile_weights(path: Path, changes: dict[str, Any]) -> tuple[PredictFn, Skeleton]:
    """Load weights, and jit the answer of their method to inputs.

    What tracing finds is kept, see `traces`; weights that a trace was kept of are known
    to fit.

    Args:
      path: as for `load_method`.
      changes: settings that replace those found.

    Returns:
      The answer, whose variables are on the device; the keypoints.

    Raises:
      ValueError: as `load_method` does.
    """
    settings, variables = load_settings(path, changes)
    shapes = {name: (x.shape, x.dtype.name) for name, x in flatten(variables).items()}
    folder = traces.folder_of(settings, shapes)
    known = folder is not None and folder.is_dir()
    method = (
        _build(path, settings) if known else build_fitting(path, settings, variables)
    )
    return _compile(method, variables, folder), skeleton_of(settings)


def _compile(method: Method, variables: Variables, folder: Path | None) -> PredictFn:
    variables = jax.jit(method.prepare)(variables)
    (device,) = jax.tree.leaves(variables)[0].devices()
    variables = jax.device_put(variables, formats(variables, device))
    programs: dict[Any, Any] = {}

    # Arrays by name, as a trace on disk knows none of this project's types.
    def predict(
        variables: Variables, image: jax.Array, valid_size: jax.Array | None
    ) -> dict[str, jax.Array]:
        view = View(image, valid_size)
        return vars(method.predict(variables, view)[method.answer])

    def answer(image: np.ndarray, valid_size: np.ndarray | None) -> Poses:
        arguments = (variables, image, valid_size)
        kind = (image.shape, valid_size is None)
        if kind not in programs:
            programs[kind] = traces.jit_kept(predict, arguments, folder)
        return Poses(**programs[kind](*arguments))

    return answer
