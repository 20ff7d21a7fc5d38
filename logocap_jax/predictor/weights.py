"""A method and its variables, from nothing but weights."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from logocap_jax.methods.base import Method, Variables
from logocap_jax.models.placement import formats
from logocap_jax.predictor import traces
from logocap_jax.predictor.predictor import PredictFn
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import Poses, View
from logocap_jax.weights.settings import (
    build_fitting,
    build_from,
    load_settings,
    skeleton_of,
)
from logocap_jax.weights.trees import flatten


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
        build_from(path, settings)
        if known
        else build_fitting(path, settings, variables)
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
