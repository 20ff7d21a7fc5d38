"""DEKR's training loss."""

from jaxtyping import Array

from logocap_jax.methods import targets
from logocap_jax.methods.base import LossOutput, Variables
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.initial_poses import normalise, train_maps
from logocap_jax.methods.selector import with_selector
from logocap_jax.methods.targets import LossRules, loss_output, loss_rules
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
    image = normalise(batch.image)
    maps, dense_stats = train_maps(config.network(), variables, image)
    how = rules(config)
    terms = targets.map_losses(maps.heatmaps, maps.offsets, batch, how)
    terms = with_selector(terms, maps.selector, maps.offsets, batch, how, config)
    return loss_output(terms, variables, dense_stats)


def rules(config: DekrConfig) -> LossRules:
    """How people become targets (specification, 14).

    Reference behaviour, a slip: the centre of a person without labelled keypoints is
    the photograph's pixel (0, 0).
    """
    at_origin = config.is_reference
    return loss_rules(config, weight_per_kind=True, center_at_origin=at_origin)


def person_size(config: DekrConfig) -> str:
    """How people are measured (specification, 14); see `InputSpec`.

    Reference behaviour, a slip: by their distance from the origin of the photograph.
    """
    return "origin" if config.is_reference else "extent"
