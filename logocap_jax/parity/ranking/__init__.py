"""Parity of the method with its PyTorch reference: inference and training steps."""

import functools
from collections.abc import Mapping
from typing import Any

from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.methods.ranking import stages, training
from logocap_jax.parity.pose_map_check import Check, make_case_check
from logocap_jax.parity.ranking.inference import check_inference


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Check:
    """The check of a model's cases; see `make_case_check`.

    `marks`: hold errors against tolerances.
    """
    config = build_config("ranking", settings)
    return make_case_check(
        "ranking",
        config,
        variables,
        stages=stages.make_stages,
        inference=check_inference,
        loss=training.loss,
        rules=training.rules,
        heatmaps=functools.partial(training.all_heatmaps, config),
        marks=marks,
    )
