"""Heatmap targets of a HigherHRNet, and the loss against them.

Specification: `../shared/siblings/centergroup/spec.md`, 9 and 10.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax import geometry, losses
from logocap_jax.codecs import heatmap
from logocap_jax.geometry import STRIDE
from logocap_jax.methods.higher_maps import FINE, HigherConfig
from logocap_jax.models.higher import HigherMaps
from logocap_jax.structures import Batch


def points_at(
    example: Batch, config: HigherConfig, stride: int
) -> tuple[Float[Array, "P C 2"], Bool[Array, "P C"]]:
    """Keypoints of people and, if asked for, their centres; and which exist.

    A centre is the mean of the keypoints that are labelled and inside the map.

    Args:
      example: ground truth, a `Batch` without `B`.
      config: settings.
      stride: input px per cell of the map, and of the points.
    """
    labelled = example.labelled & example.person[:, None]
    points = geometry.input_to_cell(example.keypoints, example.mirrored, stride)
    if not config.center:
        return points, labelled
    height, width = (side // stride for side in example.image.shape[:2])
    inside = labelled & geometry.contains(points, height, width)
    count = jnp.sum(inside, axis=1, keepdims=True)
    total = jnp.sum(points, axis=1, where=inside[..., None])
    centers = total / jnp.maximum(count, 1)
    return (
        jnp.concatenate([points, centers[:, None]], axis=1),
        jnp.concatenate([labelled, count > 0], axis=1),
    )


def cells_at(
    example: Batch, config: HigherConfig, stride: int
) -> tuple[Int[Array, "P C 2"], Bool[Array, "P C"]]:
    """The cells of `points_at`, rounded towards 0, and which of them are on the map."""
    points, exists = points_at(example, config, stride)
    cells = jnp.trunc(points)
    height, width = (side // stride for side in example.image.shape[:2])
    return cells.astype(jnp.int32), exists & geometry.contains(cells, height, width)


def heatmap_target(
    example: Batch, config: HigherConfig, stride: int
) -> Float[Array, "h w C"]:
    """Gaussians around the cells of all points, cut to a square of 15 x 15.

    For the reference's sigma of 2 cells; arguments are as of `points_at`.
    """
    cells, exists = cells_at(example, config, stride)
    height, width = (side // stride for side in example.image.shape[:2])
    target, _ = heatmap.encode(
        cells.astype(jnp.float32),
        exists,
        height=height,
        width=width,
        sigmas=(config.heatmap_sigma,) * config.num_heatmaps,
    )
    return target


def heatmap_loss(
    maps: HigherMaps, batch: Batch, config: HigherConfig
) -> Float[Array, ""]:
    """The loss of both outputs; masked cells count in its means."""
    coarse = strided_loss(maps.coarse, batch, config, STRIDE)
    fine = strided_loss(maps.fine, batch, config, FINE)
    return jnp.mean(coarse) + jnp.mean(fine)


def strided_loss(
    heatmaps: Float[Array, "B h w C"], batch: Batch, config: HigherConfig, stride: int
) -> Float[Array, "B h w C"]:
    """The squared error of each cell, 0 where masked."""
    target = jax.vmap(lambda one: heatmap_target(one, config, stride))(batch)
    weight = batch.masks[stride][..., None].astype(jnp.float32)
    return losses.squared_error(heatmaps, target) * weight
