"""Adaptive convolution: nine taps whose positions move with the pixel.

Specification, 3. Positions are `(y, x)` here, in cells of the map; groups of channels
are consecutive.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Displacements (y, x) of the nine taps, row by row.
TAPS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def adaptive_convolution(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "3 3 c F"],
    transform: Float[Array, "B h w G 2 2"],
    shift: Float[Array, "B h w G 2"] | None = None,
    *,
    dilation: int = 1,
    zero_at_border: bool = False,
) -> Float[Array, "B h w F"]:
    """Convolve a map at positions that each pixel chooses.

    Tap `g` of pixel `q` reads `q + (dilation - 1) g + transform g + shift`: bilinear,
    zeros outside. Derivatives with respect to positions are right-hand ones, as
    training starts at whole positions.

    Args:
      x: the map, `C = G * c`.
      kernel: output channels are grouped as those of a grouped convolution.
      transform: a matrix for each pixel and group, on `(y, x)` columns.
      shift: a translation `(y, x)` for each pixel and group; None: 0.
      dilation: of the fixed ring that transform and shift are added to.
      zero_at_border: derivatives with respect to a position at exactly -1 are 0.
    """
    groups = transform.shape[3]
    batch, height, width, _ = x.shape
    positions = _positions(transform, shift, dilation)  # [B h w G 9 2]
    if zero_at_border:
        positions = jnp.where(positions == -1, -2, positions)
    maps = x.reshape(batch, height, width, groups, -1)
    sample = jax.vmap(jax.vmap(_sample, in_axes=2, out_axes=2))
    taps = sample(maps, positions)  # [B h w G 9 c]
    weights = kernel.reshape(9, kernel.shape[2], groups, -1)
    result = jnp.einsum("bhwgtc,tcgf->bhwgf", taps, weights)
    return result.reshape(batch, height, width, -1)


def sampled_positions(
    transform: Float[Array, "*pixels 2 2"],
    shift: Float[Array, "*pixels 2"] | None,
    dilation: int = 1,
) -> Float[Array, "*pixels 9 2"]:
    """Displacement `(x, y)` of each tap from its pixel, in cells."""
    ring = jnp.asarray(TAPS, transform.dtype)
    offsets = ring @ jnp.swapaxes(transform, -1, -2) + (dilation - 1) * ring
    if shift is not None:
        offsets = offsets + shift[..., None, :]
    return offsets[..., ::-1]


def _positions(
    transform: Float[Array, "B h w G 2 2"],
    shift: Float[Array, "B h w G 2"] | None,
    dilation: int,
) -> Float[Array, "B h w G 9 2"]:
    height, width = transform.shape[1:3]
    offsets = sampled_positions(transform, shift, dilation)[..., ::-1]
    grid = jnp.stack(jnp.mgrid[:height, :width], axis=-1).astype(offsets.dtype)
    return grid[:, :, None, None] + offsets


def _sample(
    maps: Float[Array, "h w c"], positions: Float[Array, "*points 2"]
) -> Float[Array, "*points c"]:
    """Bilinear samples, zeros outside."""
    size = jnp.asarray(maps.shape[:2])
    lower = jnp.floor(positions)
    upper_weight = positions - lower
    total = jnp.zeros((), maps.dtype)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        index = lower.astype(jnp.int32) + jnp.asarray(corner)
        weights = jnp.where(jnp.asarray(corner) == 1, upper_weight, 1 - upper_weight)
        inside = jnp.all((index >= 0) & (index < size), axis=-1)
        index = jnp.clip(index, 0, size - 1)
        values = maps[index[..., 0], index[..., 1]]
        weight = jnp.where(inside, jnp.prod(weights, axis=-1), 0)
        total = total + weight[..., None] * values
    return total
