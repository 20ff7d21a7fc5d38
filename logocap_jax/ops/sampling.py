"""Bilinear sampling: the rule of the reference, in one place."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


def bilinear_taps(
    position: Float[Array, "*points"], size: int
) -> tuple[
    tuple[Int[Array, "*points"], Float[Array, "*points"]],
    tuple[Int[Array, "*points"], Float[Array, "*points"]],
]:
    """Index and weight of the two neighbours of a position along one axis.

    Reference behaviour: below 0 this repeats the edge; at exactly `size - 1` both
    weights are 0, and from there to `size` they grow back to 1. Trained weights
    know this, so it stays.

    Args:
      position: any real positions.
      size: length of the axis.

    Returns:
      `(index, weight)` of the lower and of the upper neighbour.
    """
    lower = jnp.clip(jnp.floor(position), 0, size - 1)
    upper = jnp.clip(lower + 1, 0, size - 1)
    lower_weight = jnp.clip(upper - position, 0, 1)
    upper_weight = jnp.clip(position - lower, 0, 1)
    return (
        (lower.astype(jnp.int32), lower_weight),
        (upper.astype(jnp.int32), upper_weight),
    )


def bilinear_sample(
    maps: Float[Array, "h w C"], points: Float[Array, "*points 2"]
) -> Float[Array, "*points C"]:
    """Sample maps at points.

    Args:
      maps: the maps of one image.
      points: `(x, y)` in the maps' own pixels, pixel centres at integers.

    Returns:
      One vector per point.
    """
    height, width, _ = maps.shape
    x_taps = bilinear_taps(points[..., 0], width)
    y_taps = bilinear_taps(points[..., 1], height)
    return sum(  # type: ignore[return-value]
        (wy * wx)[..., None] * maps[iy, ix] for iy, wy in y_taps for ix, wx in x_taps
    )


def sample_window(
    heatmap: Float[Array, "H W"], center: Float[Array, "2"], *, radius: int
) -> Float[Array, "G G"]:
    """Sample a square window at steps of one pixel around a fractional centre.

    Equals `bilinear_sample` on the grid `center + (-radius..radius)^2`. As all
    positions share one fraction, the window is one slice and a 4-tap blend.

    Args:
      heatmap: one map.
      center: `(x, y)`, pixels of the map; may lie outside.
      radius: the window has `G = 2 * radius + 1` positions a side.

    Returns:
      The window, `[y, x]`.
    """
    # The padding is as wide as the window, so that one wholly outside the map reads
    # nothing but the repeated edge.
    side = 2 * radius + 2
    padded = jnp.pad(heatmap, side, mode="edge")
    limit = jnp.asarray(heatmap.shape[::-1], jnp.float32)
    start = jnp.clip(jnp.floor(center) - radius, -side, limit)
    first = start.astype(jnp.int32) + side
    patch = lax.dynamic_slice(padded, (first[1], first[0]), (side, side))
    fraction = center - jnp.floor(center)
    steps = jnp.arange(-radius, radius + 1)
    for axis, size in enumerate(heatmap.shape):
        coordinate = 1 - axis  # axis 0 is y
        blend = fraction[coordinate]
        lower = lax.slice_in_dim(patch, 0, side - 1, axis=axis)
        upper = lax.slice_in_dim(patch, 1, side, axis=axis)
        patch = lower * (1 - blend) + upper * blend
        weight = _edge_weight(center[coordinate] + steps, size)
        patch = patch * jnp.expand_dims(weight, 1 - axis)
    return patch


def _edge_weight(position: Float[Array, " G"], size: int) -> Float[Array, " G"]:
    """The sum of both weights of `bilinear_taps`: 1 but between size - 1 and size."""
    beyond = position - (size - 1)
    return jnp.where(beyond >= 0, jnp.clip(beyond, 0, 1), 1.0)
