"""Offsets from a pose's centre to its keypoints: people <-> offset maps.

Reference behaviour: the map at a cell holds `cell - keypoint`, in cells.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import geometry


def encode(
    keypoints_cell: Float[Array, "P K 2"],
    labelled: Bool[Array, "P K"],
    centers_cell: Float[Array, "P 2"],
    has_center: Bool[Array, " P"],
    area: Float[Array, " P"],
    *,
    height: int,
    width: int,
    radius: int = 4,
) -> tuple[Float[Array, "h w K 2"], Float[Array, "h w K"]]:
    """Write each person's offsets into the cells around its centre.

    The cells are `[int(c) - radius, int(c) + radius)` in x and y; where people
    overlap, the one with the smaller area owns the cell. Centres and keypoints off
    the map are skipped (reference behaviour).

    Args:
      keypoints_cell: keypoints in cells.
      labelled: which of them exist.
      centers_cell: pose centres in cells.
      has_center: which people have a centre.
      area: person areas in input px^2.
      height: h, map height in cells.
      width: w, map width in cells.
      radius: half the side of the region, in cells.

    Returns:
      Targets, 0 where nobody owns the cell, and weights `1 / sqrt(area)`.
    """
    cells = geometry.grid(height, width)
    first = jnp.trunc(centers_cell) - radius  # [P, 2]
    offset_in_region = cells[None] - first[:, None, None]  # [P, h, w, 2]
    near = (offset_in_region >= 0) & (offset_in_region < 2 * radius)
    centered = has_center & geometry.contains(centers_cell, height, width)
    near = jnp.all(near, axis=-1) & centered[:, None, None]  # [P, h, w]
    on_map = labelled & geometry.contains(keypoints_cell, height, width)
    claims = near[..., None] & on_map[:, None, None]  # [P, h, w, K]
    claimed_area = jnp.where(claims, area[:, None, None, None], jnp.inf)
    owner = jnp.argmin(claimed_area, axis=0)  # [h, w, K]
    people = jnp.arange(area.size)[:, None, None, None]
    owns = claims & (owner == people)  # [P, h, w, K], of P one at most
    # Sums of one term, and not a gather of the owner's, which accelerators do badly:
    # a TPU needed 4.5 GB for 32 images of 128x128 cells.
    offset = cells[None, :, :, None] - keypoints_cell[:, None, None]
    target = jnp.sum(jnp.where(owns[..., None], offset, 0), axis=0)
    share = 1 / jnp.sqrt(area)[:, None, None, None]
    weight = jnp.sum(jnp.where(owns, share, 0), axis=0)
    return target, weight


def decode(
    offsets: Float[Array, "h w K 2"], centers_input: Float[Array, "N 2"]
) -> Float[Array, "N K 2"]:
    """Read the keypoints of poses, in input px.

    `keypoint = centre - offset`, the offset being that of the cell that holds the
    centre (not interpolated), while the centre itself keeps its fraction.

    Args:
      offsets: offset maps.
      centers_input: pose centres in input px, inside the input.

    Returns:
      Keypoints in input px.
    """
    centers_cell = centers_input / geometry.STRIDE
    cell = jnp.floor(centers_cell).astype(jnp.int32)
    offset = offsets[cell[:, 1], cell[:, 0]]  # [N, K, 2]
    return geometry.cell_to_input(centers_cell[:, None] - offset)
