"""Parity of the method with its PyTorch reference: inference and training steps."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.methods.ranking import stages, training
from logocap_jax.parity.cases import array_names
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.pose_map_training import training_check
from logocap_jax.parity.ranking.inference import check_inference
from logocap_jax.parity.walk import check_stages
from logocap_jax.weights.containers import errors_naming


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Callable[[pathlib.Path], list[StageResult]]:
    """The check of a model's cases.

    Cases with `losses` are steps of training, those with `centers_index` one image
    through the test path, in the reference's layout; of others the named stages are
    walked.

    Args:
      settings: of the method.
      variables: of the model.
      marks: hold errors against tolerances.
    """
    config = build_config("ranking", settings)

    def maps(variables: Variables, image: Array) -> tuple[Array, Array]:
        found, _ = training.train_maps(config, variables, image)
        return training.all_heatmaps(config, found), found.offsets

    loss = functools.partial(training.loss, config)
    count = config.skeleton.num_keypoints
    check_training = training_check(count, loss, training.rules(config), maps)

    def check(path: pathlib.Path) -> list[StageResult]:
        with errors_naming(path):
            names = array_names(path)
        if "losses" in names:
            return check_training(path, variables, marks=marks)
        if "centers_index" in names:
            return check_inference(path, config, variables, marks=marks)
        named = stages.make_stages(config)
        return check_stages(path, "ranking", named, variables, marks=marks)

    return check
