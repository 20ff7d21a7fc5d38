"""The losses of the dense maps, against targets rendered from people."""

from jaxtyping import Array, Float

from logocap_jax.methods import targets
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.selector import with_selector
from logocap_jax.structures import Batch, DenseMaps


def dense_losses(
    maps: DenseMaps, batch: Batch, config: InitialPosesConfig
) -> dict[str, Float[Array, ""]]:
    """The weighted heatmap and offset losses of a batch (specification, 10).

    Args:
      maps: predictions.
      batch: ground truth.
      config: settings.

    Returns:
      `{"heatmap": ..., "offset": ...}`, and `selector` if there is one, maybe in place
      of `offset`; their sum is the loss.
    """
    rules = targets.loss_rules(config)
    terms = targets.map_losses(maps.heatmaps, maps.offsets, batch, rules)
    return with_selector(terms, maps.selector, maps.offsets, batch, rules, config)


def dense_targets(
    example: Batch, config: InitialPosesConfig
) -> tuple[
    Float[Array, "h w K1"],
    Float[Array, "h w 1"],
    Float[Array, "h w K 2"],
    Float[Array, "h w K"],
]:
    """Targets and weights of one image (specification, 9).

    A pose's centre is the mean of its labelled keypoints; of a person without any it
    is the middle of the box (reference behaviour).

    Args:
      example: ground truth, a `Batch` without `B`.
      config: settings.

    Returns:
      Heatmap targets, their weight, 0 where masked, offset targets and weights.
    """
    rules = targets.loss_rules(config)
    return (
        *targets.heatmap_targets(example, rules),
        *targets.offset_targets(example, rules),
    )
