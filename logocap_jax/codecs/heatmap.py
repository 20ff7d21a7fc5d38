"""Heatmaps: people -> target maps and weights; a centre map -> pose centres."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import geometry
from logocap_jax.ops import peaks


def encode(
    points_cell: Float[Array, "P K1 2"],
    labelled: Bool[Array, "P K1"],
    *,
    height: int,
    width: int,
    sigmas: tuple[float, ...],
    background_weight: float = 0.1,
    per_kind: bool = False,
) -> tuple[Float[Array, "h w K1"], Float[Array, "h w C"]]:
    """Render one Gaussian per labelled point, cut to a box around it.

    The boxes are `[floor(p - 3 s - 1), ceil(p + 3 s + 2))` in x and y. Points off
    the map are skipped. Where people overlap, the larger value counts.

    Args:
      points_cell: keypoints of each person and, last, its centre, in cells.
      labelled: which of them exist.
      height: h, in cells.
      width: w, in cells.
      sigmas: one standard deviation per kind of point, in cells.
      background_weight: weight of cells outside the boxes; inside it is 1.
      per_kind: one weight map per kind of point, with its own boxes; else one for all
        (C = 1), with every box.

    Returns:
      Target maps, and their weight maps.
    """
    present = labelled & geometry.contains(points_cell, height, width)

    def render(point: Array, exists: Array, sigma: Array) -> tuple[Array, Array]:
        rows = _in_box(point[1], sigma, height)[:, None] & exists
        columns = _in_box(point[0], sigma, width)[None, :]
        value = gaussian_at(point, height=height, width=width, sigma=sigma)
        return jnp.where(rows & columns, value, 0), rows & columns

    render_kinds = jax.vmap(render, in_axes=(0, 0, 0), out_axes=-1)
    spread = jnp.asarray(sigmas, jnp.float32)
    values, boxes = jax.vmap(render_kinds, in_axes=(0, 0, None))(
        points_cell, present, spread
    )  # [P, h, w, K1]
    covered = jnp.any(boxes, axis=0)  # [h, w, K1]
    if not per_kind:
        covered = jnp.any(covered, axis=-1, keepdims=True)
    weight = jnp.where(covered, 1.0, background_weight)
    return jnp.max(values, axis=0, initial=0), weight


def _in_box(
    coordinate: Float[Array, ""], sigma: Float[Array, ""], size: int
) -> Bool[Array, " {size}"]:
    position = jnp.arange(size)
    first = jnp.floor(coordinate - 3 * sigma - 1)
    end = jnp.ceil(coordinate + 3 * sigma + 2)
    return (position >= first) & (position < end)


def decode_centers(
    center_map: Float[Array, "H W"],
    *,
    count: int,
    threshold: float = 0.01,
    passes: Callable[[Array, float], Array] = operator.ge,
    keep_one: bool = True,
    window: int = 3,
) -> tuple[Float[Array, "N 2"], Float[Array, " N"], Bool[Array, " N"]]:
    """Find pose centres on a centre map at input resolution.

    Args:
      center_map: centre heatmap, upsampled to input px.
      count: N, the number of pose slots.
      threshold: of valid centres' values.
      passes: comparison of values with the threshold, `operator.ge` or `operator.gt`.
      keep_one: if no centre is valid, count the first one as valid (reference
        behaviour).
      window: a centre is no smaller than its `window x window` neighbours.

    Returns:
      Centres in input px, their values, best first, and which are valid.
    """
    centers, values = peaks.top_peaks(center_map, count=count, window=window)
    valid = passes(values, threshold)
    if keep_one:
        valid = valid.at[0].set(valid[0] | ~jnp.any(valid))
    return centers, values, valid


def gaussian_window(
    *, radius: int, sigma: float, cutoff: float = 0.0
) -> Float[Array, "G G"]:
    """A Gaussian of height 1 on the grid `(-radius..radius)^2`, 0 below the cutoff."""
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
