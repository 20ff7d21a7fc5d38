"""The losses of the dense maps, against targets rendered from people."""

import jax
from jaxtyping import Array, Float

from logocap_jax.methods import targets
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.targets import TargetRules
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
      `{"heatmap": ..., "offset": ...}`; their sum is the loss.
    """
    heat_target, heat_weight, off_target, off_weight = jax.vmap(
        lambda example: dense_targets(example, config)
    )(batch)
    offset_loss = targets.offset_loss(
        maps.offsets, off_target, off_weight, beta=config.smooth_l1_beta
    )
    return {
        "heatmap": targets.heatmap_loss(maps.heatmaps, heat_target, heat_weight),
        "offset": config.offset_loss_weight * offset_loss,
    }


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
    sigmas = (config.heatmap_sigma,) * config.skeleton.num_keypoints
    rules = TargetRules(
        sigmas=(*sigmas, config.center_sigma),
        background_weight=config.background_weight,
        offset_radius=config.offset_radius,
    )
    return (
        *targets.heatmap_targets(example, rules),
        *targets.offset_targets(example, rules),
    )
