"""Bilinear sampling and upsampling: the rules of the reference, in one place."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Num


def bilinear_taps(
    position: Float[Array, "*points"], size: int | Int[Array, ""]
) -> tuple[
    tuple[Int[Array, "*points"], Float[Array, "*points"]],
    tuple[Int[Array, "*points"], Float[Array, "*points"]],
]:
    """`(index, weight)` of the lower and upper neighbour of a position on an axis.

    Reference behaviour: below 0 this repeats the edge; at exactly `size - 1` both
    weights are 0, and from there to `size` they grow back to 1. Trained weights
    know this, so it stays.
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
    maps: Float[Array, "*images h w C"],
    points: Float[Array, "*points 2"],
    valid_size: Int[Array, "2"] | None = None,
    *,
    image: tuple[Int[Array, ""], ...] = (),
) -> Float[Array, "*points C"]:
    """Sample maps at points; one vector per point.

    Args:
      maps: the maps of one image, or of several.
      points: `(x, y)` in the maps' own pixels, pixel centres at integers.
      valid_size: height and width of the image in the maps; None: all.
      image: index of the image among several. Unlike `maps[image]` it makes no copy
        of an image's maps for each point set where this is `vmap`ed.
    """
    height, width = maps.shape[-3:-1] if valid_size is None else valid_size
    x_taps = bilinear_taps(points[..., 0], width)
    y_taps = bilinear_taps(points[..., 1], height)
    return sum(  # type: ignore[return-value]
        (wy * wx)[..., None] * maps[(*image, iy, ix)]
        for iy, wy in y_taps
        for ix, wx in x_taps
    )


def resized_position(
    pixel: Num[Array, "*grid"], factor: int | float | Float[Array, ""]
) -> Float[Array, "*grid"]:
    """Source coordinates of resized pixels (half-pixel centres)."""
    return (pixel + 0.5) / factor - 0.5


def linear_weights(
    position: Float[Array, "*#grid"],
    cell: Num[Array, "*#grid"],
    *,
    within: int | Int[Array, ""],
) -> Float[Array, "*grid"]:
    """Weight of each cell at each position of one axis: linear, edges repeated.

    Args:
      position: any real positions on the axis.
      cell: positions of its values; the two broadcast.
      within: number of its values that are image, from the first on.
    """
    place = jnp.clip(position, 0, within - 1)
    return jnp.maximum(1 - jnp.abs(place - cell), 0)


def sample_grid(
    maps: Float[Array, "h w C"],
    rows: Float[Array, " Y"],
    columns: Float[Array, " X"],
    valid_size: tuple[int, int] | Int[Array, "2"],
) -> Float[Array, "Y X C"]:
    """Sample maps where rows and columns cross: bilinear, edges repeated.

    Rows and columns are in the maps' own pixels; only the first `valid_size` (height,
    width) are image.
    """
    along_y, along_x = (
        linear_weights(positions[:, None], jnp.arange(size)[None], within=within)
        for positions, size, within in zip(
            (rows, columns), maps.shape[:2], valid_size, strict=True
        )
    )
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        "yh,hwc,xw->yxc", along_y, maps, along_x, precision=lax.Precision.HIGHEST
    )


def upsampled_weights(
    position: Float[Array, "*#grid"],
    cell: Num[Array, "*#grid"],
    *,
    stride: int,
    within: int | Int[Array, ""],
    middle: float | None = None,
) -> Float[Array, "*grid"]:
    """Weight of each cell at each position of one axis, as if it were upsampled first.

    Upsampling by `stride` is bilinear with edges repeated, sampling follows
    `bilinear_taps`; both are linear, so one row of weights does both and the
    upsampled map never exists.

    Args:
      position: positions on the upsampled axis.
      cell: positions of the axis before upsampling; the two broadcast.
      stride: factor of the upsampling.
      within: number of its values that are image, from the first on.
      middle: pixel that cell 0 lies at; None: half-pixel centres, `(stride - 1) / 2`.
    """
    start = (stride - 1) / 2 if middle is None else middle

    def upsample(index: Array) -> Array:
        return linear_weights((index - start) / stride, cell, within=within)

    lower, upper = bilinear_taps(position, within * stride)
    return upsample(lower[0]) * lower[1] + upsample(upper[0]) * upper[1]


def sample_window(
    heatmaps: Float[Array, "*images h w K"],
    center: Float[Array, "2"],
    channel: Int[Array, ""],
    *,
    radius: int,
    stride: int,
    middle: float | None = None,
    valid_size: Int[Array, "2"] | None = None,
    image: tuple[Int[Array, ""], ...] = (),
) -> Float[Array, "G G"]:
    """Sample a heatmap, as if upsampled by `stride`, on whole steps around a point.

    Equals `bilinear_sample` of the upsampled map. As the steps are pixels, the window
    covers few cells: those are read, and two small matrix products do the rest.

    Args:
      heatmaps: the heatmaps of one image, or of several, in cells.
      center: `(x, y)`, in pixels of the upsampled map; it may lie outside.
      channel: which heatmap.
      radius: `G = 2 * radius + 1`.
      stride: factor of the upsampling.
      middle: as for `upsampled_weights`.
      valid_size: height and width of the image in the maps, in cells; None: all.
      image: index of the image among several, as for `bilinear_sample`.

    Returns:
      The samples, `[y, x]`.
    """
    size = heatmaps.shape[-3:-1]
    within = size if valid_size is None else valid_size
    start = (stride - 1) / 2 if middle is None else middle
    steps = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    # One cell more at either end than the window is long: it starts within a cell.
    count = -(-(2 * radius + 1) // stride) + 2
    indices, weights = [], []
    for axis in (0, 1):
        point = center[1 - axis]
        first = jnp.floor((jnp.floor(point - radius) - start) / stride)
        # Positions outside read the nearest cell inside; so must a window all outside.
        cells = jnp.clip(first, 0, within[axis] - 1).astype(jnp.int32)
        cells = cells + jnp.arange(count)
        # Beyond the map all weights are 0.
        indices.append(jnp.minimum(cells, size[axis] - 1))
        weights.append(
            upsampled_weights(
                (point + steps)[:, None],
                cells[None],
                stride=stride,
                within=within[axis],
                middle=start,
            )
        )
    window = heatmaps[(*image, indices[0][:, None], indices[1], channel)]
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        "yh,hw,xw->yx", weights[0], window, weights[1], precision=lax.Precision.HIGHEST
    )


def upsample_bilinear(
    maps: Float[Array, "B h w C"], factor: int
) -> Float[Array, "B H W C"]:
    """Upsample maps by `factor` (even, or 1), with half-pixel centres, repeated edges.

    Equals `jax.image.resize`, which multiplies by dense matrices and transposes: here
    each value is a blend of two neighbours along one axis, then along the other.
    """
    return _upsample_axis(_upsample_axis(maps, factor, 1), factor, 2)


def _upsample_axis(maps: Array, factor: int, axis: int) -> Array:
    size = maps.shape[axis]
    # Not `jnp.pad`: its gradient slices the batch, which may be split over devices.
    before, after = (lax.slice_in_dim(maps, i, i + 1, axis=axis) for i in (0, size - 1))
    padded = jnp.concatenate([before, maps, after], axis=axis)
    lower = lax.slice_in_dim(padded, 0, size + 1, axis=axis)
    upper = lax.slice_in_dim(padded, 1, size + 2, axis=axis)
    # Between two neighbours lie `factor` pixels, half of them in the cell of either.
    around = [1] * (axis + 1), [1] * (maps.ndim - axis - 1)
    share = jnp.asarray((np.arange(factor) + 0.5) / factor, maps.dtype)
    share = share.reshape(*around[0], factor, *around[1])
    lower, upper = (jnp.expand_dims(x, axis + 1) for x in (lower, upper))
    between = lower * (1 - share) + upper * share
    shape = (*maps.shape[:axis], (size + 1) * factor, *maps.shape[axis + 1 :])
    first = factor // 2
    return lax.slice_in_dim(
        between.reshape(shape), first, first + size * factor, axis=axis
    )
