"""Upsampling by whole factors."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def upsample_bilinear(
    maps: Float[Array, "B h w C"], factor: int
) -> Float[Array, "B H W C"]:
    """Upsample maps with half-pixel centres and repeated edges.

    Equals `jax.image.resize`, which multiplies by dense matrices and transposes: here
    each value is a blend of two neighbours along one axis, then along the other.

    Args:
      maps: the maps.
      factor: even, or 1.

    Returns:
      Maps `factor` times as high and wide.
    """
    return _upsample_axis(_upsample_axis(maps, factor, 1), factor, 2)


def _upsample_axis(maps: Array, factor: int, axis: int) -> Array:
    size = maps.shape[axis]
    # Not `jnp.pad`: its gradient slices the batch, which may be split over devices.
    before, after = (lax.slice_in_dim(maps, i, i + 1, axis=axis) for i in (0, size - 1))
    padded = jnp.concatenate([before, maps, after], axis=axis)
    lower = lax.slice_in_dim(padded, 0, size + 1, axis=axis)
    upper = lax.slice_in_dim(padded, 1, size + 2, axis=axis)
    # Between two neighbours lie `factor` pixels, half of them in the cell of either.
    around = [1] * (axis + 1), [1] * (maps.ndim - axis - 1)
    share = jnp.asarray((np.arange(factor) + 0.5) / factor, maps.dtype)
    share = share.reshape(*around[0], factor, *around[1])
    lower, upper = (jnp.expand_dims(x, axis + 1) for x in (lower, upper))
    between = lower * (1 - share) + upper * share
    shape = (*maps.shape[:axis], (size + 1) * factor, *maps.shape[axis + 1 :])
    first = factor // 2
    return lax.slice_in_dim(
        between.reshape(shape), first, first + size * factor, axis=axis
    )
