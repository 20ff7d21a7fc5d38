"""Runs all cases of a folder."""

import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from logocap_jax.parity.cases import find_cases, read_case, read_config, read_weights
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.inference_check import check_inference
from logocap_jax.parity.inference_stages import InferenceStages
from logocap_jax.parity.training_check import check_training
from logocap_jax.parity.training_stages import TrainingStages


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
    marks = dtype == "float32"
    for path, cases in find_cases(folder).items():
        with (
            jax.default_device(jax.local_devices(backend="cpu")[0]),
            jax.default_matmul_precision("highest"),
        ):
            variables = jax.tree.map(jnp.asarray, read_weights(path))
            config = read_config(variables, dtype=dtype)
            inference = InferenceStages(config, variables)
            training = TrainingStages(config)
            for case in cases:
                arrays = read_case(case, config)
                if case.training:
                    yield check_training(case, arrays, training, variables, marks=marks)
                else:
                    yield check_inference(case, arrays, inference, marks=marks)
