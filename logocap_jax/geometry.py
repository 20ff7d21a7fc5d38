"""Coordinate frames: the only place where points change frame on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.ops.sampling import resized_position, sample_grid

STRIDE = 4  # input pixels per cell: two stride-2 convolutions in HRNet's stem


class CellRule(NamedTuple):
    """Where cells lie in the input: cell `i` at pixel `stride * i + middle`."""

    stride: int = STRIDE
    middle: float = (STRIDE - 1) / 2


def input_to_cell(
    points_input: Float[Array, "*prefix 2"], mirrored: Bool[Array, ""]
) -> Float[Array, "*prefix 2"]:
    """Points in input px -> points in cells, as training targets have them.

    Reference behaviour: a point is divided by the stride with no half-pixel term,
    and a mirrored image's labels are mirrored *in cells*, `x -> w - 1 - x`, while
    its pixels are mirrored in the input, `x -> W - 1 - x`. So labels of a mirrored
    image lie `(STRIDE - 1) / STRIDE` cells further left.

    Args:
      points_input: points as they lie in the (possibly mirrored) input.
      mirrored: whether the input is a mirror image.

    Returns:
      The points in cells.
    """
    shift = jnp.where(mirrored, (STRIDE - 1) / STRIDE, 0.0)
    return points_input / STRIDE - jnp.stack([shift, jnp.zeros_like(shift)])


def cell_to_input(points_cell: Float[Array, "*prefix 2"]) -> Float[Array, "*prefix 2"]:
    """Points in cells -> points in input px (reference behaviour: no half pixel)."""
    return points_cell * STRIDE


def upsample_to_input(
    maps: Float[Array, "h w C"], valid_size: Int[Array, "2"] | None = None
) -> Float[Array, "H W C"]:
    """Resize maps from cells to input px, bilinear, with half-pixel centres.

    Note that this places cell `i` at pixel `4 i + 1.5`, unlike `cell_to_input`
    (reference behaviour; the heads learn the difference). At the border the two
    outermost pixels are the outermost cell's, exactly.

    Args:
      maps: in cells.
      valid_size: height and width of the image in them, input px; None: all.
    """
    height, width, channels = maps.shape
    if valid_size is not None:
        rows, columns = (
            resized_position(jnp.arange(size * STRIDE), STRIDE)
            for size in (height, width)
        )
        return sample_grid(maps, rows, columns, valid_size // STRIDE)
    shape = (height * STRIDE, width * STRIDE, channels)
    return jax.image.resize(maps, shape, "bilinear")


def contains(
    points: Float[Array, "*prefix 2"], height: int, width: int
) -> Bool[Array, "*prefix"]:
    """Mask of the points on a map: `0 <= x < width` and `0 <= y < height`."""
    limit = jnp.asarray([width, height], points.dtype)
    return jnp.all((points >= 0) & (points < limit), axis=-1)


def grid(height: int, width: int) -> Float[Array, "{height} {width} 2"]:
    """The `(x, y)` of every position of a map."""
    x, y = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
    return jnp.stack([x, y], axis=-1).astype(jnp.float32)
