"""A method and its variables, from nothing but weights."""

import functools
import json
from pathlib import Path
from typing import Any

import jax

from logocap_jax.convert.containers import errors_naming
from logocap_jax.convert.files import checkpoint_folder, load_weights
from logocap_jax.convert.state_dict import fit
from logocap_jax.convert.trees import flatten
from logocap_jax.experiment.settings import read_settings
from logocap_jax.methods import build_method
from logocap_jax.methods.base import Method, Variables
from logocap_jax.models.folding import fold_batch_norm
from logocap_jax.predictor.predictor import PredictFn
from logocap_jax.structures import Poses


def load_method(path: Path, changes: dict[str, Any]) -> tuple[Method, Variables]:
    """Load weights and build the method that they are of.

    Args:
      path: a run of `train.py`, or any file that `logocap convert` reads or writes.
      changes: settings that replace those found.

    Raises:
      ValueError: unreadable, not a known method, or settings that do not fit.
    """
    settings, variables = load_settings(path, changes)
    return build_fitting(path, settings, variables), variables


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
    settings = _saved_settings(path)
    if settings is None:
        with errors_naming(path):
            settings = read_settings(variables)
    return settings | changes, variables


def build_fitting(path: Path, settings: dict[str, Any], variables: Variables) -> Method:
    """Build the method that weights are of, from `load_settings`.

    Raises:
      ValueError: settings that are unknown or do not fit the weights; names `path`.
    """
    others = {key: value for key, value in settings.items() if key != "name"}
    with errors_naming(path):
        method = build_method(settings["name"], others)
        shapes = jax.eval_shape(method.init, jax.random.key(0))
        expected = {name: leaf.shape for name, leaf in flatten(shapes).items()}
        arrays = flatten(variables)
        _, report = fit(arrays, expected, names={name: name for name in arrays})
        report.require_complete()
    return method


def compile_method(method: Method, variables: Variables) -> PredictFn:
    """The method's answer to inputs, jitted; the variables go to the device once.

    There batch norms are folded: inside of what is jitted that would gain nothing.
    """

    def predict(variables: Variables, image: jax.Array, extent: jax.Array) -> Poses:
        return method.predict(variables, image, extent)[method.result]

    return functools.partial(jax.jit(predict), jax.jit(fold_batch_norm)(variables))


def _saved_settings(path: Path) -> dict[str, Any] | None:
    """The method's settings that training wrote beside its checkpoint."""
    meta = checkpoint_folder(path) / "meta" / "metadata"
    if not meta.is_file():
        return None
    return _with_tuples(json.loads(meta.read_bytes())["settings"]["method"])


def _with_tuples(value: Any) -> Any:
    """JSON has lists only; settings have tuples only."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return value
