"""Offsets from a pose's centre to its keypoints: people <-> offset maps.

Reference behaviour: the map at a cell holds `cell - keypoint`, in cells.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from logocap_jax import geometry


def encode(
    keypoints_cell: Float[Array, "P K 2"],
    labelled: Bool[Array, "P K"],
    centers_cell: Float[Array, "P 2"],
    has_center: Bool[Array, " P"],
    size: Float[Array, "P 2"],
    *,
    height: int,
    width: int,
    radius: int = 4,
) -> tuple[Float[Array, "h w K 2"], Float[Array, "h w K"]]:
    """Write each person's offsets into the cells around its centre.

    The cells are `[int(c) - radius, int(c) + radius)` in x and y. Centres and
    keypoints off the map are skipped. Where people overlap (reference behaviour),
    they are written in their order, and their keypoints in theirs; each cell has one
    size for all keypoints, that of the person written last, rounded to float32. A
    target that is not 0 stays if that size is smaller than the person's, not rounded;
    else it is overwritten. So a person does not overwrite itself where rounding has
    made it smaller.

    Args:
      keypoints_cell: keypoints in cells.
      labelled: which of them exist.
      centers_cell: pose centres in cells.
      has_center: which people have a centre.
      size: person sizes in input px^2, as `Batch.size` has them.
      height: h, map height in cells.
      width: w, map width in cells.
      radius: half the side of the region, in cells.

    Returns:
      Targets, 0 where nobody has written, and weights `1 / sqrt(size)`.
    """
    centered = has_center & geometry.contains(centers_cell, height, width)
    exists = labelled & geometry.contains(keypoints_cell, height, width)
    first = jnp.where(centered[:, None], jnp.trunc(centers_cell), 0) - radius
    # Only cells around a centre are written, so only these are followed, not the map.
    # Those of several people are followed once for each, with the same outcome.
    cells = first[:, None, None] + geometry.grid(2 * radius, 2 * radius)
    written = _write_people(
        cells.reshape(-1, 2),
        first,
        keypoints_cell,
        exists & centered[:, None],
        size,
        side=2 * radius,
    )
    patches = jnp.moveaxis(written, -1, 0).reshape(*cells.shape[:3], -1)
    maps = _place(patches, first.astype(jnp.int32), height, width)
    maps = maps.reshape(height, width, 3, -1)
    return jnp.moveaxis(maps[:, :, :2], 2, -1), maps[:, :, 2]


def _write_people(
    cells: Float[Array, "C 2"],
    first: Float[Array, "P 2"],
    keypoints: Float[Array, "P K 2"],
    exists: Bool[Array, "P K"],
    size: Float[Array, "P 2"],
    *,
    side: int,
) -> Float[Array, "3 K C"]:
    """Targets (x, y) and weights of cells after all people have been written.

    Within one person the size of a cell becomes its rounded size at the first keypoint
    that is written; from there on all that follow are written, but if rounding has made
    it smaller: then those only that nobody has written.
    """
    order = jnp.arange(keypoints.shape[1])[:, None]  # [K, 1]

    def write(state: tuple[Array, Array], person: Any) -> tuple[Any, None]:
        values, owner = state  # [3, K, C], [C]
        first, keypoints, exists, (size, rest) = person
        near = jnp.all((cells >= first) & (cells < first + side), axis=-1)
        claims = near & exists[:, None]  # [K, C]
        is_empty = claims & jnp.all(values[:2] == 0, axis=0)
        is_smaller = (owner < size) | ((owner == size) & (rest > 0))
        opens = is_empty | (claims & ~is_smaller)
        first_open = jnp.min(jnp.where(opens, order, order.size), axis=0)
        follows = jnp.where(rest > 0, order == first_open, order >= first_open)
        writes = is_empty | (claims & follows)
        offset = cells.T[:, None] - keypoints.T[..., None]  # [2, K, C]
        weight = jnp.broadcast_to(1 / jnp.sqrt(size), (1, *writes.shape))
        values = jnp.where(writes, jnp.concatenate([offset, weight]), values)
        return (values, jnp.where(jnp.any(writes, axis=0), size, owner)), None

    start = jnp.zeros((3, order.size, len(cells))), jnp.zeros(len(cells))
    (values, _), _ = lax.scan(write, start, (first, keypoints, exists, size))
    return values


def _place(
    patches: Float[Array, "P S S F"], first: Int[Array, "P 2"], height: int, width: int
) -> Float[Array, "h w F"]:
    """Put patches on a map of zeros, each from its first cell `(x, y)` on."""
    people, side, _, features = patches.shape
    border = side // 2  # patches reach as far beyond the map

    def put(i: Array, maps: Array) -> Array:
        x, y = first[i] + border
        return lax.dynamic_update_slice(maps, patches[i], (y, x, 0))

    maps = jnp.zeros((height + side, width + side, features))
    maps = lax.fori_loop(0, people, put, maps)
    return maps[border : border + height, border : border + width]


def decode(
    offsets: Float[Array, "h w K 2"], centers_input: Float[Array, "N 2"]
) -> Float[Array, "N K 2"]:
    """Read the keypoints of poses from offset maps, in input px.

    `keypoint = centre - offset`, the offset being that of the cell that holds the
    centre (not interpolated), while the centre itself keeps its fraction. Centres are
    in input px, inside the input.
    """
    centers_cell = centers_input / geometry.STRIDE
    cell = jnp.floor(centers_cell).astype(jnp.int32)
    offset = offsets[cell[:, 1], cell[:, 0]]  # [N, K, 2]
    return geometry.cell_to_input(centers_cell[:, None] - offset)
