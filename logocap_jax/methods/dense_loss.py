"""The losses of the dense maps, against targets rendered from people."""

from jaxtyping import Array, Float

from logocap_jax.methods import targets
from logocap_jax.methods.initial_poses import InitialPosesConfig
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
    return targets.map_losses(maps.heatmaps, maps.offsets, batch, _rules(config))


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
    rules = _rules(config)
    return (
        *targets.heatmap_targets(example, rules),
        *targets.offset_targets(example, rules),
    )


def _rules(config: InitialPosesConfig) -> targets.LossRules:
    sigmas = (config.heatmap_sigma,) * config.skeleton.num_keypoints
    return targets.LossRules(
        sigmas=(*sigmas, config.center_sigma),
        background_weight=config.background_weight,
        offset_radius=config.offset_radius,
        smooth_l1_beta=config.smooth_l1_beta,
        offset_loss_weight=config.offset_loss_weight,
    )
