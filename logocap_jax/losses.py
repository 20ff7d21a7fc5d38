"""Elementwise losses."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_error(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """`(prediction - target)^2`."""
    return jnp.square(prediction - target)


def smooth_l1(
    prediction: Float[Array, "*shape"],
    target: Float[Array, "*shape"],
    *,
    beta: float,
) -> Float[Array, "*shape"]:
    """Quadratic below an error of `beta`, linear above, smooth where they meet."""
    error = jnp.abs(prediction - target)
    return jnp.where(error < beta, error * error / (2 * beta), error - beta / 2)
