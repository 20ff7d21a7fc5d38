"""The losses of the dense maps, against targets rendered from people."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import geometry, losses
from logocap_jax.codecs import heatmap, offset
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.structures import Batch, DenseMaps


def dense_losses(
    maps: DenseMaps, batch: Batch, config: InitialPosesConfig
) -> dict[str, Float[Array, ""]]:
    """The weighted heatmap and offset losses of a batch.

    `heatmap = mean((H - T)^2 w)`; `offset = sum(smoothL1(O - T) w) / count(w > 0)`.

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
    weight = (heat_weight * batch.masks[geometry.STRIDE])[..., None]
    heatmap_loss = jnp.mean(losses.squared_error(maps.heatmaps, heat_target) * weight)
    error = losses.smooth_l1(maps.offsets, off_target, beta=config.smooth_l1_beta)
    # A weight covers x and y, so both count.
    count = 2 * jnp.sum(off_weight > 0)
    offset_loss = jnp.sum(error * off_weight[..., None]) / jnp.maximum(count, 1)
    return {
        "heatmap": heatmap_loss,
        "offset": config.offset_loss_weight * offset_loss,
    }


def dense_targets(
    example: Batch, config: InitialPosesConfig
) -> tuple[
    Float[Array, "h w K1"],
    Float[Array, "h w"],
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
      Heatmap targets, their weight (without the mask), offset targets and weights.
    """
    height, width = (side // geometry.STRIDE for side in example.image.shape[:2])
    labelled = example.labelled & example.person[:, None]
    keypoints = geometry.input_to_cell(example.keypoints, example.mirrored)
    centers = _centers(keypoints, labelled, example)
    points = jnp.concatenate([keypoints, centers[:, None]], axis=1)
    exists = jnp.concatenate([labelled, example.has_center[:, None]], axis=1)
    num_keypoints = config.skeleton.num_keypoints
    heat_target, heat_weight = heatmap.encode(
        points,
        exists,
        height=height,
        width=width,
        sigmas=(*(config.heatmap_sigma,) * num_keypoints, config.center_sigma),
        background_weight=config.background_weight,
    )
    off_target, off_weight = offset.encode(
        keypoints,
        labelled,
        centers,
        example.has_center,
        example.area,
        height=height,
        width=width,
        radius=config.offset_radius,
    )
    return heat_target, heat_weight, off_target, off_weight


def _centers(
    keypoints_cell: Float[Array, "P K 2"], labelled: Bool[Array, "P K"], example: Batch
) -> Float[Array, "P 2"]:
    """Pose centres in cells."""
    count = jnp.sum(labelled, axis=1, keepdims=True)
    mean = jnp.sum(keypoints_cell * labelled[..., None], axis=1)
    mean = mean / jnp.maximum(count, 1)
    middle = (example.box[:, :2] + example.box[:, 2:]) / 2
    middle = geometry.input_to_cell(middle, example.mirrored)
    return jnp.where(count > 0, mean, middle)
