"""Gaussians on pixel grids."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def gaussian_window(
    *, radius: int, sigma: float, cutoff: float = 0.0
) -> Float[Array, "G G"]:
    """A Gaussian of height 1 on the grid `(-radius..radius)^2`.

    Args:
      radius: `G = 2 * radius + 1`.
      sigma: standard deviation in grid steps.
      cutoff: values below it become 0.

    Returns:
      The window.
    """
    steps = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    profile = jnp.square(steps)
    window = jnp.exp(-(profile[:, None] + profile[None, :]) / (2 * sigma**2))
    return jnp.where(window < cutoff, 0.0, window)


def gaussian_at(
    center: Float[Array, "2"],
    *,
    height: int,
    width: int,
    sigma: float | Float[Array, ""],
) -> Float[Array, "{height} {width}"]:
    """A Gaussian of height 1 around a point `(x, y)` of a map."""
    x = jnp.exp(-jnp.square(jnp.arange(width) - center[0]) / (2 * sigma**2))
    y = jnp.exp(-jnp.square(jnp.arange(height) - center[1]) / (2 * sigma**2))
    return y[:, None] * x[None, :]
