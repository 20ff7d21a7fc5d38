"""DEKR's training loss."""

import typing

from jaxtyping import Array, Float

from logocap_jax.methods import targets
from logocap_jax.methods.base import LossOutput, Variables, subtree
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.network import HeadMaps
from logocap_jax.methods.initial_poses import normalise
from logocap_jax.methods.pose_map_loss import loss_output, loss_rules
from logocap_jax.methods.targets import LossRules
from logocap_jax.structures import Batch


def loss(
    config: DekrConfig, variables: Variables, batch: Batch, key: Array
) -> LossOutput:
    """The sum of two losses: heatmap, offset (specification, 15).

    Args:
      config: settings.
      variables: parameters and batch statistics.
      batch: images and people, measured by `person_size`.
      key: not used: nothing is random.

    Returns:
      Loss, its two weighted terms, and statistics.
    """
    del key
    maps, dense_stats = train_maps(config, variables, normalise(batch.image))
    terms = targets.map_losses(maps.heatmaps, maps.offsets, batch, rules(config))
    return loss_output(terms, variables, dense_stats)


def train_maps(
    config: DekrConfig, variables: Variables, image: Float[Array, "B H W 3"]
) -> tuple[HeadMaps, Variables]:
    """The maps of normalised images, and new batch statistics of the net."""
    maps, updates = config.network().apply(
        subtree(variables, "dense"), image, train=True, mutable=["batch_stats"]
    )
    return typing.cast(HeadMaps, maps), updates["batch_stats"]


def rules(config: DekrConfig) -> LossRules:
    """How people become targets (specification, 14).

    Reference behaviour, a slip: the centre of a person without labelled keypoints is
    the photograph's pixel (0, 0).
    """
    is_reference = config.quirks == "reference"
    return loss_rules(config, weight_per_kind=True, center_at_origin=is_reference)


def person_size(config: DekrConfig) -> str:
    """How people are measured (specification, 14); see `InputSpec`.

    Reference behaviour, a slip: by their distance from the origin of the photograph.
    """
    return "origin" if config.quirks == "reference" else "extent"
