"""Local maxima with a fixed number of results."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def top_peaks(
    heatmap: Float[Array, "H W"], *, count: int, window: int = 3
) -> tuple[Float[Array, "N 2"], Float[Array, " N"]]:
    """The highest local maxima of a map.

    Args:
      heatmap: one map; values below 0 count as 0.
      count: N, the number of results.
      window: a maximum is no smaller than its `window x window` neighbours.

    Returns:
      Positions `(x, y)` and values, highest first. Where there are fewer than N
      maxima the rest has value 0.
    """
    clamped = jnp.maximum(heatmap, 0)
    highest = lax.reduce_window(clamped, 0.0, lax.max, (window, window), (1, 1), "SAME")
    values, index = lax.top_k(jnp.where(clamped == highest, clamped, 0).ravel(), count)
    y, x = jnp.divmod(index, heatmap.shape[1])
    return jnp.stack([x, y], axis=-1).astype(jnp.float32), values


def top_two(
    heatmap: Float[Array, "H W"],
) -> tuple[Float[Array, "2 2"], Float[Array, "2"]]:
    """Positions `(x, y)` and values of a map's two largest values, largest first.

    Of several cells with the largest value these are the first two, the later one
    first unless they are the map's very first two, as in a map of zeros (reference
    behaviour: the order of PyTorch's `topk` on a CPU).
    """
    flat = heatmap.ravel()
    first = jnp.argmax(flat)
    # Two passes of argmax: far cheaper than a sort of all values.
    second = jnp.argmax(jnp.where(jnp.arange(flat.size) == first, -jnp.inf, flat))
    turned = (flat[first] == flat[second]) & (second > 1)
    index = jnp.where(turned, jnp.stack([second, first]), jnp.stack([first, second]))
    y, x = jnp.divmod(index, heatmap.shape[1])
    return jnp.stack([x, y], axis=-1).astype(jnp.float32), flat[index]
