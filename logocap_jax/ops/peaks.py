"""The largest values and local maxima, with a fixed number of results."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


def largest(
    values: Float[Array, " n"], count: int, *, block: int = 16
) -> tuple[Float[Array, " N"], Int[Array, " N"]]:
    """The largest values, as of `lax.top_k`, with as little to sort.

    Under `jit` and `vmap` with a batch that is split over CPUs or GPUs, XLA brings the
    whole batch to every device for `lax.top_k`, but sorts where the values are.

    Args:
      values: the values.
      count: N, at most n.
      block: length of blocks whose maxima are compared first. The blocks with the N
        largest maxima hold all N results.

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


def top_peaks(
    heatmap: Float[Array, "H W"], *, count: int, window: int = 3
) -> tuple[Float[Array, "N 2"], Float[Array, " N"]]:
    """The highest local maxima of a map, whose values below 0 count as 0.

    Returns:
      Positions `(x, y)` and values, highest first. Where there are fewer than N
      maxima the rest has value 0.
    """
    return top_cells(local_maxima(heatmap, window), count)


def local_maxima(heatmap: Float[Array, "H W"], window: int) -> Float[Array, "H W"]:
    """A map with 0 wherever it is below 0 or no maximum.

    A maximum is no smaller than its `window x window` neighbours.
    """
    clamped = jnp.maximum(heatmap, 0)
    highest = clamped
    for shape in ((window, 1), (1, window)):  # one axis after the other takes less time
        highest = lax.reduce_window(highest, 0.0, lax.max, shape, (1, 1), "SAME")
    return jnp.where(clamped == highest, clamped, 0)


def top_cells(
    heatmap: Float[Array, "H W"], count: int
) -> tuple[Float[Array, "N 2"], Float[Array, " N"]]:
    """Positions `(x, y)` and values of a map's largest values, largest first."""
    values, index = largest(heatmap.ravel(), count)
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
    height, width = heatmap.shape
    rows = jnp.max(heatmap, axis=1)  # the only pass over all values
    y1 = jnp.argmax(rows)
    row = heatmap[y1]
    x1 = jnp.argmax(row)
    rest = jnp.where(jnp.arange(width) == x1, -jnp.inf, row)
    others = jnp.where(jnp.arange(height) == y1, jnp.max(rest), rows)
    y2 = jnp.argmax(others)
    x2 = jnp.argmax(jnp.where(y2 == y1, rest, heatmap[y2]))
    positions = jnp.stack([jnp.stack([x1, y1]), jnp.stack([x2, y2])])
    values = jnp.stack([rows[y1], others[y2]])
    turned = (values[0] == values[1]) & (y2 * width + x2 > 1)
    positions = jnp.where(turned, positions[::-1], positions)
    return positions.astype(jnp.float32), values
