"""The largest values of a vector, also where a batch of them is split over devices."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


def largest(
    values: Float[Array, " n"], count: int, *, block: int = 16
) -> tuple[Float[Array, " N"], Int[Array, " N"]]:
    """What `lax.top_k` computes, with as little to sort.

    Under `jit` and `vmap` with a batch that is split over CPUs or GPUs, XLA brings the
    whole batch to every device for `lax.top_k`, but sorts where the values are.

    Args:
      values: the values.
      count: N, at most n.
      block: values of which only the largest is compared at first. The blocks with the
        N largest of these hold all N results.

    Returns:
      Values and positions, largest first; of equal values the first ones.
    """
    size = values.shape[0]
    if not isinstance(size, int):  # of an exported program, which has one device
        return tuple(lax.top_k(values, count))
    if size <= count * block:
        index = jnp.argsort(-values)[:count]
        return values[index], index
    padding = -size % block
    blocks = jnp.pad(values, (0, padding), constant_values=-jnp.inf)
    blocks = blocks.reshape(-1, block)
    _, chosen = largest(jnp.max(blocks, axis=1), count, block=block)
    chosen = jnp.sort(chosen)  # so that of equal values the first come first
    candidates = blocks[chosen].ravel()
    order = jnp.argsort(-candidates)[:count]
    return candidates[order], chosen[order // block] * block + order % block
