"""Losses: elementwise ones, and one over cells that compete."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax.ops.proposals import weigh

_LEAST_QUALITY = 1e-6


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


def quality_focal(
    logits: Float[Array, "*shape"], target: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Cross-entropy against `target`, times the squared error of the probability.

    The factor has a gradient, too. Where the target is 0 this is the focal loss of the
    background (specification of spatial-aware regression, 3).
    """
    entropy = jax.nn.softplus(logits) - target * logits
    return entropy * jnp.square(target - jax.nn.sigmoid(logits))


def expected_quality(
    logits: Float[Array, " T *n"],
    quality: Float[Array, " T *n"],
    mask: Bool[Array, " T *n"] | None = None,
) -> Float[Array, "*n"]:
    """`-log(sum_t w_t r_t + 1e-6)`: cells learn both to be good and to be chosen.

    Args:
      logits: confidence of each cell, before the sigmoid.
      quality: of each cell's proposal, 0..1.
      mask: cells that take part; without any the loss is constant.
    """
    return -jnp.log(jnp.sum(weigh(logits, mask) * quality, axis=0) + _LEAST_QUALITY)
