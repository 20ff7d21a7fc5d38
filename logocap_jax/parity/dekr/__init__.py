"""Parity of DEKR with its PyTorch reference: inference and training steps."""

from collections.abc import Mapping
from typing import Any

from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.methods.dekr import stages, training
from logocap_jax.parity.dekr.inference import check_inference
from logocap_jax.parity.pose_map_check import Check, make_case_check


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Check:
    """The check of a model's cases; see `make_case_check`.

    `marks`: hold errors against tolerances.
    """
    config = build_config("dekr", settings)
    return make_case_check(
        "dekr",
        config,
        variables,
        stages=stages.make_stages,
        inference=check_inference,
        loss=training.loss,
        rules=training.rules,
        heatmaps=lambda maps: maps.heatmaps,
        marks=marks,
    )
