"""Coordinate frames: the only place where points change frame on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.ops.sampling import sample_grid

STRIDE = 4  # input pixels per cell: two stride-2 convolutions in HRNet's stem


class CellRule(NamedTuple):
    """Where cells lie in the input: cell `i` at pixel `stride * i + middle`.

    Attributes:
      stride: input px per cell.
      middle: input px; half-pixel centres, as LOGO-CAP reads heatmaps.
    """

    stride: int = STRIDE
    middle: float = (STRIDE - 1) / 2


HALF_PIXEL = CellRule()


def input_to_cell(
    points_input: Float[Array, "*prefix 2"],
    mirrored: Bool[Array, ""],
    stride: int = STRIDE,
) -> Float[Array, "*prefix 2"]:
    """Points in input px -> points in cells, as training targets have them.

    Reference behaviour: a point is divided by the stride with no half-pixel term,
    and a mirrored image's labels are mirrored *in cells*, `x -> w - 1 - x`, while
    its pixels are mirrored in the input, `x -> W - 1 - x`. So labels of a mirrored
    image lie `(stride - 1) / stride` cells further left.

    Args:
      points_input: points as they lie in the (possibly mirrored) input.
      mirrored: whether the input is a mirror image.
      stride: input px per cell.

    Returns:
      The points in cells.
    """
    shift = jnp.where(mirrored, (stride - 1) / stride, 0.0)
    return points_input / stride - jnp.stack([shift, jnp.zeros_like(shift)])


def cell_to_input(points_cell: Float[Array, "*prefix 2"]) -> Float[Array, "*prefix 2"]:
    """Points in cells -> points in input px (reference behaviour: no half pixel)."""
    return points_cell * STRIDE


def upsample_to_input(
    maps: Float[Array, "h w C"],
    valid_size: Int[Array, "2"] | None = None,
    *,
    cells: CellRule = HALF_PIXEL,
) -> Float[Array, "H W C"]:
    """Resize maps from cells to input px, bilinear, edges repeated.

    Half-pixel centres place cell `i` at pixel `4 i + 1.5`, unlike `cell_to_input`
    (reference behaviour; the heads learn the difference).

    Args:
      maps: in cells.
      valid_size: height and width of the image in them, input px; None: all.
      cells: where the cells lie.
    """
    height, width, channels = maps.shape
    stride, middle = cells
    if valid_size is None and cells == HALF_PIXEL:
        shape = (height * stride, width * stride, channels)
        return jax.image.resize(maps, shape, "bilinear")
    rows, columns = (
        (jnp.arange(size * stride) - middle) / stride for size in (height, width)
    )
    valid_cells = (height, width) if valid_size is None else valid_size // stride
    return sample_grid(maps, rows, columns, valid_cells)


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
