"""Proposals: each cell says where a keypoint is, and how sure it is of that.

Axes: `T` cells that compete, in row order; any axes behind them compete apart.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SHARPNESS = 16.0  # of the kernel, per unit of error


def weigh(
    logits: Float[Array, " T *n"], mask: Bool[Array, " T *n"] | None = None
) -> Float[Array, " T *n"]:
    """Weights of the cells: their confidence, a sigmoid, over the sum of all.

    Computed as a softmax of `log sigmoid`, which no logit makes 0 / 0. Masked cells
    weigh 0, also where all are masked; no gradient is NaN.
    """
    logs = jax.nn.log_sigmoid(logits)
    if mask is None:
        return jax.nn.softmax(logs, axis=0)
    logs = jnp.where(mask, logs, -jnp.inf)
    highest = jax.lax.stop_gradient(jnp.max(logs, axis=0))
    highest = jnp.where(jnp.isfinite(highest), highest, 0)
    shares = jnp.where(mask, jnp.exp(jnp.where(mask, logs, highest) - highest), 0)
    total = jnp.sum(shares, axis=0)
    return shares / jnp.where(total > 0, total, 1)


def quality(
    error: Float[Array, "*n"], length: float | Float[Array, "*n"] = 1.0
) -> Float[Array, "*n"]:
    """Laplacian kernel of an error, 1 where there is none (specification, 3).

    Args:
      error: both axes added.
      length: unit of the error; it falls by `exp(-16)` over one.
    """
    return jnp.exp(-SHARPNESS * error / length)
