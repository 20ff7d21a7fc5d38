"""Images that fill only a part of their array, from its first row and column on.

So images of many sizes share one compiled program. What comes out must not depend on
what lies outside: convolutions read zeros there, as beyond the border of an image, and
interpolation the nearest value inside.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def valid_mask(
    valid_size: Int[Array, "2"], height: int, width: int
) -> Bool[Array, "{height} {width}"]:
    """Mask of the top-left `(height, width)` of a map."""
    rows, columns = jnp.arange(height), jnp.arange(width)
    return (rows < valid_size[0])[:, None] & (columns < valid_size[1])


def extend_edges(
    maps: Float[Array, "h w C"], valid_size: Int[Array, "2"]
) -> Float[Array, "h w C"]:
    """Repeat the last row and the last column inside all the way out."""
    height, width, _ = maps.shape
    rows = jnp.minimum(jnp.arange(height), valid_size[0] - 1)
    columns = jnp.minimum(jnp.arange(width), valid_size[1] - 1)
    return jnp.take(jnp.take(maps, rows, axis=0), columns, axis=1)
