"""Candidate poses of a pose map, and heatmaps of all scales as one."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.pose_map import find_centers, scale_size, upsample
from logocap_jax.models.outside import valid_mask


class Candidates(NamedTuple):
    """Candidate poses of an image at a scale, best centre first.

    Attributes:
      centers: cells `(x, y)`.
      values: of the centres.
      valid: which are candidates.
      poses: in cells.
    """

    centers: Float[Array, "N 2"]
    values: Float[Array, " N"]
    valid: Bool[Array, " N"]
    poses: Float[Array, "N K 2"]


def find_candidates(
    center_map: Float[Array, "h w"],
    pose_map: Float[Array, "h w K 2"],
    valid_cells: Int[Array, "2"] | None = None,
    *,
    count: int,
    threshold: float,
) -> Candidates:
    """The poses of a pose map at the peaks of a centre map; see `find_centers`."""
    cells, values, valid = find_centers(
        center_map, valid_cells, count=count, threshold=threshold
    )
    x, y = cells.astype(jnp.int32).T
    return Candidates(cells, values, valid, pose_map[y, x])


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
