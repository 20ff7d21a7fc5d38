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
    maps: Float[Array, "*images h w C"],
    points: Float[Array, "*points 2"],
    valid_size: Int[Array, "2"] | None = None,
    *,
    image: tuple[Int[Array, ""], ...] = (),
) -> Float[Array, "*points C"]:
    """Sample maps at points.

    Args:
      maps: the maps of one image, or of several.
      points: `(x, y)` in the maps' own pixels, pixel centres at integers.
      valid_size: height and width of the image in the maps; None: all.
      image: index of the image among several. Unlike `maps[image]` it makes no copy
        of an image's maps for each point set where this is `vmap`ed.

    Returns:
      One vector per point.
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
    """Where pixels of a resized axis lie on it before: half-pixel centres."""
    return (pixel + 0.5) / factor - 0.5


def linear_weights(
    position: Float[Array, "*#grid"],
    cell: Num[Array, "*#grid"],
    *,
    within: int | Int[Array, ""],
) -> Float[Array, "*grid"]:
    """Weights that sample one axis: linear, edges repeated.

    Args:
      position: any real positions on the axis.
      cell: positions of its values; the two broadcast.
      within: how many of its values are image, from the first on.

    Returns:
      For each position the weight of each cell.
    """
    place = jnp.clip(position, 0, within - 1)
    return jnp.maximum(1 - jnp.abs(place - cell), 0)


def resize_weights(
    pixel: Num[Array, "*#grid"],
    cell: Num[Array, "*#grid"],
    *,
    stride: int,
    within: int | Int[Array, ""],
) -> Float[Array, "*grid"]:
    """Weights that upsample one axis: bilinear, half-pixel centres, edges repeated.

    Args:
      pixel: pixels of the upsampled axis.
      cell: positions of the axis before; the two broadcast.
      stride: factor.
      within: how many of its values are image, from the first on.

    Returns:
      For each pixel the weight of each cell.
    """
    return linear_weights(resized_position(pixel, stride), cell, within=within)


def sample_grid(
    maps: Float[Array, "h w C"],
    rows: Float[Array, " Y"],
    columns: Float[Array, " X"],
    valid_size: tuple[int, int] | Int[Array, "2"],
) -> Float[Array, "Y X C"]:
    """Sample maps where rows and columns cross: bilinear, edges repeated.

    Args:
      maps: the maps of one image.
      rows: positions along y, in the maps' own pixels.
      columns: positions along x.
      valid_size: height and width of the image in the maps.
    """
    along_y, along_x = (
        linear_weights(positions[:, None], jnp.arange(size)[None], within=within)
        for positions, size, within in zip(
            (rows, columns), maps.shape[:2], valid_size, strict=True
        )
    )
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        *("yh,hwc,xw->yxc", along_y, maps, along_x), precision=lax.Precision.HIGHEST
    )


def upsampled_weights(
    position: Float[Array, "*#grid"],
    cell: Num[Array, "*#grid"],
    *,
    stride: int,
    within: int | Int[Array, ""],
) -> Float[Array, "*grid"]:
    """Weights that sample one axis of a map as if it were upsampled first.

    Upsampling by `stride` is bilinear with half-pixel centres, sampling follows
    `bilinear_taps`; both are linear, so one row of weights does both and the
    upsampled map never exists.

    Args:
      position: positions on the upsampled axis.
      cell: positions of the axis before upsampling; the two broadcast.
      stride: factor of the upsampling.
      within: how many of its values are image, from the first on.

    Returns:
      For each position the weight of each cell.
    """

    def upsample(index: Array) -> Array:
        return resize_weights(index, cell, stride=stride, within=within)

    lower, upper = bilinear_taps(position, within * stride)
    return upsample(lower[0]) * lower[1] + upsample(upper[0]) * upper[1]


def sample_window(
    heatmaps: Float[Array, "*images h w K"],
    center: Float[Array, "2"],
    channel: Int[Array, ""],
    *,
    radius: int,
    stride: int,
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
      valid_size: height and width of the image in the maps, in cells; None: all.
      image: index of the image among several, as for `bilinear_sample`.

    Returns:
      The samples, `[y, x]`.
    """
    cells, first = window_cells(
        *(heatmaps, center, channel),
        radius=radius,
        stride=stride,
        valid_size=valid_size,
        image=image,
    )
    within = heatmaps.shape[-3:-1] if valid_size is None else valid_size
    steps = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    rows, columns = (
        upsampled_weights(
            (center[1 - axis] + steps)[:, None],
            first[axis] + jnp.arange(cells.shape[axis])[None],
            stride=stride,
            within=within[axis],
        )
        for axis in (0, 1)
    )
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        *("yh,hw,xw->yx", rows, cells, columns), precision=lax.Precision.HIGHEST
    )


def window_cells(
    heatmaps: Float[Array, "*images h w K"],
    center: Float[Array, "2"],
    channel: Int[Array, ""],
    *,
    radius: int,
    stride: int,
    valid_size: Int[Array, "2"] | None = None,
    image: tuple[Int[Array, ""], ...] = (),
) -> tuple[Float[Array, "n n"], Int[Array, "2"]]:
    """The cells that `sample_window` reads, and the row and column of the first."""
    size = heatmaps.shape[-3:-1]
    first, indices = [], []
    for axis in (0, 1):
        within = size[axis] if valid_size is None else valid_size[axis]
        start = jnp.floor(center[1 - axis] - radius)
        start = jnp.floor((start + 0.5) / stride - 0.5)
        # Positions outside read the nearest cell inside; so must a window all outside.
        start = jnp.clip(start, 0, within - 1).astype(jnp.int32)
        # One cell more at either end than the window is long: it starts within a cell.
        count = -(-(2 * radius + 1) // stride) + 2
        first.append(start)
        # Beyond the map all weights are 0.
        indices.append(jnp.minimum(start + jnp.arange(count), size[axis] - 1))
    cells = heatmaps[(*image, indices[0][:, None], indices[1], channel)]
    return cells, jnp.stack(first)


def upsample_bilinear(
    maps: Float[Array, "B h w C"], factor: int
) -> Float[Array, "B H W C"]:
    """Upsample maps with half-pixel centres and repeated edges.

    Equals `jax.image.resize`, which multiplies by dense matrices and transposes: here
    each value is a blend of two neighbours along one axis, then along the other.

    Args:
      maps: the maps.
      factor: even, or 1.

    Returns:
      Maps `factor` times as high and wide.
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
