"""Bilinear sampling: the rule of the reference, in one place."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num


def bilinear_taps(
    position: Float[Array, "*points"], size: int | Int[Array, ""]
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
    maps: Float[Array, "h w C"],
    points: Float[Array, "*points 2"],
    extent: Int[Array, "2"] | None = None,
) -> Float[Array, "*points C"]:
    """Sample maps at points.

    Args:
      maps: the maps of one image.
      points: `(x, y)` in the maps' own pixels, pixel centres at integers.
      extent: height and width of the image in the maps; None: all.

    Returns:
      One vector per point.
    """
    height, width = maps.shape[:2] if extent is None else extent
    x_taps = bilinear_taps(points[..., 0], width)
    y_taps = bilinear_taps(points[..., 1], height)
    return sum(  # type: ignore[return-value]
        (wy * wx)[..., None] * maps[iy, ix] for iy, wy in y_taps for ix, wx in x_taps
    )


def resize_weights(
    pixel: Num[Array, " X"], *, size: int, stride: int, within: int | Int[Array, ""]
) -> Float[Array, "X {size}"]:
    """Weights that upsample one axis: bilinear, half-pixel centres, edges repeated.

    Args:
      pixel: pixels of the upsampled axis.
      size: length of the axis before.
      stride: factor.
      within: how many of its values are image, from the first on.

    Returns:
      For each pixel the weights of the `size` values.
    """
    cells = jnp.arange(size, dtype=jnp.float32)
    place = jnp.clip((pixel + 0.5) / stride - 0.5, 0, within - 1)
    return jnp.maximum(1 - jnp.abs(place[:, None] - cells[None]), 0)


def upsampled_weights(
    position: Float[Array, " X"],
    *,
    size: int,
    stride: int,
    within: int | Int[Array, ""] | None = None,
) -> Float[Array, "X {size}"]:
    """Weights that sample one axis of a map as if it were upsampled first.

    Upsampling by `stride` is bilinear with half-pixel centres, sampling follows
    `bilinear_taps`; both are linear, so one row of weights does both and the
    upsampled map never exists.

    Args:
      position: positions on the upsampled axis.
      size: length of the axis before upsampling.
      stride: factor of the upsampling.
      within: how many of its values are image, from the first on; None: all.

    Returns:
      For each position the weights of the `size` values.
    """
    end = size if within is None else within

    def rows(index: Array) -> Array:
        return resize_weights(index, size=size, stride=stride, within=end)

    lower, upper = bilinear_taps(position, end * stride)
    return rows(lower[0]) * lower[1][:, None] + rows(upper[0]) * upper[1][:, None]


def sample_upsampled(
    heatmap: Float[Array, "h w"],
    x: Float[Array, " X"],
    y: Float[Array, " Y"],
    *,
    stride: int,
    extent: Int[Array, "2"] | None = None,
) -> Float[Array, "Y X"]:
    """Sample a map, as if upsampled by `stride`, on the grid of all `y` and `x`.

    Equals `bilinear_sample` of the upsampled map; two small matrix products instead
    of a gather from a map `stride**2` times as large.

    Args:
      heatmap: one map, in cells.
      x: columns, in pixels of the upsampled map; they may lie outside.
      y: rows, likewise.
      stride: factor of the upsampling.
      extent: height and width of the image in the map, in cells; None: all.

    Returns:
      The samples.
    """
    height, width = heatmap.shape
    ends = (None, None) if extent is None else extent
    rows = upsampled_weights(y, size=height, stride=stride, within=ends[0])
    columns = upsampled_weights(x, size=width, stride=stride, within=ends[1])
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        "yh,hw,xw->yx", rows, heatmap, columns, precision=lax.Precision.HIGHEST
    )
