"""Training of the methods with pose maps (their specification, 9, 10, 14, 15)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import LossOutput, Variables
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.targets import LossRules


def loss_rules(
    config: PoseMapConfig,
    *,
    weight_per_kind: bool,
    center_of_box: bool = False,
    center_at_origin: bool = False,
) -> LossRules:
    """The rules of targets and losses; arguments are as in `LossRules`."""
    return LossRules(
        sigmas=config.sigmas,
        background_weight=config.background_weight,
        offset_radius=config.offset_radius,
        smooth_l1_beta=config.smooth_l1_beta,
        offset_loss_weight=config.offset_loss_weight,
        weight_per_kind=weight_per_kind,
        center_of_box=center_of_box,
        center_at_origin=center_at_origin,
    )


def loss_output(
    terms: dict[str, Array], variables: Variables, dense_stats: Mapping[str, Any]
) -> LossOutput:
    """The sum of loss terms, and batch statistics with new ones of the maps' net."""
    return LossOutput(
        loss=sum(terms.values(), jnp.zeros(())),
        terms=terms,
        counts={},
        batch_stats={**variables["batch_stats"], "dense": dense_stats},
    )
