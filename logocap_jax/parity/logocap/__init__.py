"""Parity of LOGO-CAP with its PyTorch reference: inference and training steps."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from logocap_jax.methods.base import Variables
from logocap_jax.methods.logocap.config import build_model
from logocap_jax.methods.logocap.spec import SPEC
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.logocap.cases import describe, make_config, read_case
from logocap_jax.parity.logocap.inference import InferenceStages, check_inference
from logocap_jax.parity.logocap.training import TrainingStages, check_training
from logocap_jax.parity.walk import check_stages


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Callable[[pathlib.Path], list[StageResult]]:
    """The check of a model's cases; compiled parts are shared by all of them.

    Files `infer_*` and `train_step_*` are in the reference's layout (docs/parity.md);
    of others the named stages are walked.

    Args:
      settings: of the method.
      variables: of the model.
      marks: hold errors against tolerances.

    Raises:
      ValueError: the skeleton is not COCO's, whose cases these are.
    """
    config = make_config(settings)
    inference = functools.cache(
        lambda flip_test, refine_with: InferenceStages(
            config, variables, flip_test=flip_test, refine_with=refine_with
        )
    )
    training = TrainingStages(build_model(config))

    def check(path: pathlib.Path) -> list[StageResult]:
        case = describe(path)
        if case is None:
            stages = SPEC.stages(config)
            return check_stages(path, "logocap", stages, variables, marks=marks)
        arrays = read_case(case, config)
        if case.training:
            return check_training(case, arrays, training, variables, marks=marks)
        refine_with = "kam" if case.result == "local" else "both"
        walker = inference(case.flip_test, refine_with)
        return check_inference(case, arrays, walker, marks=marks)

    return check
