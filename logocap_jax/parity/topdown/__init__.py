"""Parity of spatial-aware regression with the public code, one person at a time.

Arrays are those of `../shared/siblings/sar/parity/README.md`.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.parity.cases import array_names
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.topdown.model import check_inference, check_training
from logocap_jax.weights.containers import errors_naming


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Callable[[pathlib.Path], list[StageResult]]:
    """The check of a model's cases, inference and training steps.

    `marks`: hold errors against tolerances.
    """
    config = build_config("topdown", settings)

    def check(path: pathlib.Path) -> list[StageResult]:
        with errors_naming(path):
            is_training = "losses" in array_names(path)
        run = check_training if is_training else check_inference
        return run(path, config, variables, marks=marks)

    return check
