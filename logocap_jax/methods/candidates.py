"""Candidate poses of a pose map, and what they are made from; fused heatmaps."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.base import PointLayer
from logocap_jax.methods.pose_map import PoseMapConfig, scale_size, upsample
from logocap_jax.models.outside import valid_mask
from logocap_jax.ops.adaptive_conv import sampled_positions


def read_poses(
    pose_maps: Mapping[float, Float[Array, "B _ _ K 2"]],
    centers: Float[Array, "B M 2"],
    *,
    stride: int = STRIDE,
) -> Float[Array, "B M K 2"]:
    """The poses that pose maps hold at centres, in input px of scale 1.

    Args:
      pose_maps: by scale, in cells.
      centers: cells `(x, y)`, as many of each scale, in the order of `pose_maps`.
      stride: input px per cell.
    """

    def read(poses: Array, centers: Array) -> Array:
        x, y = centers.astype(jnp.int32).T
        return poses[y, x]

    found = [
        jax.vmap(read)(maps, cells) * (stride / scale)
        for (scale, maps), cells in zip(
            pose_maps.items(), jnp.split(centers, len(pose_maps), axis=1), strict=True
        )
    ]
    return jnp.concatenate(found, axis=1)


def largest_value(
    values: Float[Array, "h w"], valid_cells: Int[Array, "2"] | None = None
) -> Float[Array, ""]:
    """The largest value of a map; 1 where none is above 0."""
    if valid_cells is not None:
        values = jnp.where(valid_mask(valid_cells, *values.shape), values, 0)
    largest = jnp.max(values)
    return jnp.where(largest > 0, largest, 1)


def fuse(
    heatmaps: Mapping[float, Float[Array, "B h w C"]],
    sizes: Int[Array, "B 2"] | None = None,
    *,
    stride: int = STRIDE,
) -> Float[Array, "B H W C"]:
    """Heatmaps in input px of scale 1, the mean of all scales.

    Args:
      heatmaps: by scale.
      sizes: height and width of each image at scale 1, input px; None: all.
      stride: input px per cell.
    """
    height, width = (stride * side for side in heatmaps[1.0].shape[1:3])

    def up(maps: Array, valid_size: Array | None, scale: float) -> Array:
        cells = None if valid_size is None else valid_size // stride
        # Maps of another stride are maps of a larger input.
        factor = scale * STRIDE / stride
        return upsample(maps, (height, width), cells, scale=factor)

    maps = [
        jax.vmap(partial(up, scale=scale))(maps, scale_size(sizes, scale))
        for scale, maps in heatmaps.items()
    ]
    return sum(maps[1:], start=maps[0]) / len(maps)


def cells_at_one(
    config: PoseMapConfig, centers: Float[Array, "B M 2"], kept: Int[Array, "B N"]
) -> Float[Array, "B N 2"]:
    """The centres of kept candidates of all scales, in cells of scale 1."""
    per_slot = jnp.repeat(jnp.asarray(config.scales), config.num_slots)[:, None]
    return jnp.take_along_axis(centers / per_slot, kept[..., None], axis=1)


def point_layers(
    units: Mapping[str, tuple[Array, Array | None]],
    cells: Float[Array, "B N 2"],
    num_keypoints: int,
) -> dict[str, PointLayer]:
    """Positions that adaptive units read, one unit after the other, as layers.

    Args:
      units: matrices `[B, h, w, G, 2, 2]` and translations of each unit by its name, in
        the order in which they run; `G` is 1 or the number of keypoints.
      cells: of the poses; the last unit reads around them, each other one around what
        the unit behind it reads.
      num_keypoints: K.
    """

    def around(unit: tuple[Array, Array | None], points: Array) -> Array:
        height, width, groups = unit[0].shape[:3]
        cell = jnp.round(points).astype(jnp.int32)
        x, y = jnp.moveaxis(jnp.clip(cell, 0, jnp.array([width, height]) - 1), -1, 0)
        group = jnp.arange(num_keypoints)[:, None] % groups
        at_points = jax.tree.map(lambda maps: maps[y, x, group], unit)
        taps = sampled_positions(*at_points)  # [N, K, S, 9, 2]
        return (points[..., None, :] + taps).reshape(*points.shape[:2], -1, 2)

    layers = {}
    points = jnp.repeat(cells[:, :, None, None], num_keypoints, axis=2)
    for name, unit in reversed([*units.items()]):
        points = jax.vmap(around)(unit, points)
        layers[name] = PointLayer(STRIDE * points, STRIDE * cells)
    return layers
