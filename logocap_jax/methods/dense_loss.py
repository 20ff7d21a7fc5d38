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
    height, width = maps.heatmaps.shape[1:3]
    heat_target, heat_weight, off_target, off_weight = jax.vmap(
        lambda *people: dense_targets(
            *people, height=height, width=width, config=config
        )
    )(
        batch.keypoints,
        batch.labelled,
        batch.area,
        batch.person,
        batch.has_center & batch.person,
        batch.mirrored,
    )
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
    keypoints_input: Float[Array, "P K 2"],
    labelled: Bool[Array, "P K"],
    area: Float[Array, " P"],
    person: Bool[Array, " P"],
    has_center: Bool[Array, " P"],
    mirrored: Bool[Array, ""],
    *,
    height: int,
    width: int,
    config: InitialPosesConfig,
) -> tuple[
    Float[Array, "h w K1"],
    Float[Array, "h w"],
    Float[Array, "h w K 2"],
    Float[Array, "h w K"],
]:
    """Targets and weights of one image; arguments as in `structures.Batch`.

    A pose's centre is the mean of its labelled keypoints.

    Returns:
      Heatmap targets, their weight (without the mask), offset targets and weights.
    """
    labelled = labelled & person[:, None]
    keypoints = geometry.input_to_cell(keypoints_input, mirrored)
    count = jnp.maximum(jnp.sum(labelled, axis=1, keepdims=True), 1)
    centers = jnp.sum(keypoints * labelled[..., None], axis=1) / count
    points = jnp.concatenate([keypoints, centers[:, None]], axis=1)
    exists = jnp.concatenate([labelled, has_center[:, None]], axis=1)
    kinds = config.skeleton.num_keypoints
    heat_target, heat_weight = heatmap.encode(
        points,
        exists,
        height=height,
        width=width,
        sigmas=(*(config.heatmap_sigma,) * kinds, config.center_sigma),
        background_weight=config.background_weight,
    )
    off_target, off_weight = offset.encode(
        keypoints,
        labelled,
        centers,
        has_center,
        area,
        height=height,
        width=width,
        radius=config.offset_radius,
    )
    return heat_target, heat_weight, off_target, off_weight
