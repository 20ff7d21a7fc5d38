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
    maps: Float[Array, "*images h w C"],
    points: Float[Array, "*points 2"],
    extent: Int[Array, "2"] | None = None,
    *,
    image: tuple[Int[Array, ""], ...] = (),
) -> Float[Array, "*points C"]:
    """Sample maps at points.

    Args:
      maps: the maps of one image, or of several.
      points: `(x, y)` in the maps' own pixels, pixel centres at integers.
      extent: height and width of the image in the maps; None: all.
      image: index of the image among several. Unlike `maps[image]` it makes no copy
        of an image's maps for each point set where this is `vmap`ed.

    Returns:
      One vector per point.
    """
    height, width = maps.shape[-3:-1] if extent is None else extent
    x_taps = bilinear_taps(points[..., 0], width)
    y_taps = bilinear_taps(points[..., 1], height)
    return sum(  # type: ignore[return-value]
        (wy * wx)[..., None] * maps[(*image, iy, ix)]
        for iy, wy in y_taps
        for ix, wx in x_taps
    )


def resized_position(
    pixel: Num[Array, " X"], factor: int | float | Float[Array, ""]
) -> Float[Array, " X"]:
    """Where pixels of a resized axis lie on it before: half-pixel centres."""
    return (pixel + 0.5) / factor - 0.5


def linear_weights(
    position: Float[Array, " X"],
    cells: Num[Array, " w"],
    *,
    within: int | Int[Array, ""],
) -> Float[Array, "X w"]:
    """Weights that sample one axis: linear, edges repeated.

    Args:
      position: any real positions on the axis.
      cells: positions of its values.
      within: how many of its values are image, from the first on.

    Returns:
      For each position the weights of the cells.
    """
    place = jnp.clip(position, 0, within - 1)
    return jnp.maximum(1 - jnp.abs(place[:, None] - cells[None]), 0)


def resize_weights(
    pixel: Num[Array, " X"],
    cells: Num[Array, " w"],
    *,
    stride: int,
    within: int | Int[Array, ""],
) -> Float[Array, "X w"]:
    """Weights that upsample one axis: bilinear, half-pixel centres, edges repeated.

    Args:
      pixel: pixels of the upsampled axis.
      cells: positions of the axis before.
      stride: factor.
      within: how many of its values are image, from the first on.

    Returns:
      For each pixel the weights of the cells.
    """
    return linear_weights(resized_position(pixel, stride), cells, within=within)


def sample_grid(
    maps: Float[Array, "h w C"],
    rows: Float[Array, " Y"],
    columns: Float[Array, " X"],
    extent: tuple[int, int] | Int[Array, "2"],
) -> Float[Array, "Y X C"]:
    """Sample maps where rows and columns cross: bilinear, edges repeated.

    Args:
      maps: the maps of one image.
      rows: positions along y, in the maps' own pixels.
      columns: positions along x.
      extent: height and width of the image in the maps.
    """
    height, width, _ = maps.shape
    along_y = linear_weights(rows, jnp.arange(height), within=extent[0])
    along_x = linear_weights(columns, jnp.arange(width), within=extent[1])
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        *("yh,hwc,xw->yxc", along_y, maps, along_x), precision=lax.Precision.HIGHEST
    )


def upsampled_weights(
    position: Float[Array, " X"],
    cells: Num[Array, " w"],
    *,
    stride: int,
    within: int | Int[Array, ""],
) -> Float[Array, "X w"]:
    """Weights that sample one axis of a map as if it were upsampled first.

    Upsampling by `stride` is bilinear with half-pixel centres, sampling follows
    `bilinear_taps`; both are linear, so one row of weights does both and the
    upsampled map never exists.

    Args:
      position: positions on the upsampled axis.
      cells: positions of the axis before upsampling.
      stride: factor of the upsampling.
      within: how many of its values are image, from the first on.

    Returns:
      For each position the weights of the cells.
    """

    def rows(index: Array) -> Array:
        return resize_weights(index, cells, stride=stride, within=within)

    lower, upper = bilinear_taps(position, within * stride)
    return rows(lower[0]) * lower[1][:, None] + rows(upper[0]) * upper[1][:, None]


def sample_window(
    heatmaps: Float[Array, "*images h w K"],
    center: Float[Array, "2"],
    channel: Int[Array, ""],
    *,
    radius: int,
    stride: int,
    extent: Int[Array, "2"] | None = None,
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
      extent: height and width of the image in the maps, in cells; None: all.
      image: index of the image among several, as for `bilinear_sample`.

    Returns:
      The samples, `[y, x]`.
    """
    size = heatmaps.shape[-3:-1]
    columns, rows = (
        _window_axis(
            center[1 - axis],
            radius=radius,
            stride=stride,
            size=size[axis],
            within=size[axis] if extent is None else extent[axis],
        )
        for axis in (1, 0)
    )
    cells = heatmaps[(*image, rows[0][:, None], columns[0], channel)]
    # Full precision: keypoints are read off the peaks of what comes out.
    return jnp.einsum(
        *("yh,hw,xw->yx", rows[1], cells, columns[1]), precision=lax.Precision.HIGHEST
    )


def _window_axis(
    center: Float[Array, ""],
    *,
    radius: int,
    stride: int,
    size: int,
    within: int | Int[Array, ""],
) -> tuple[Int[Array, " w"], Float[Array, "G w"]]:
    """The cells that a window reads along one axis, and their weights."""
    position = center + jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    first = jnp.floor((jnp.floor(position[0]) + 0.5) / stride - 0.5)
    # Positions outside read the nearest cell inside; so must a window all outside.
    first = jnp.clip(first, 0, within - 1).astype(jnp.int32)
    # One cell more at either end than the window is long: it starts within a cell.
    count = -(-(2 * radius + 1) // stride) + 2
    cells = first + jnp.arange(count)
    weights = upsampled_weights(position, cells, stride=stride, within=within)
    return jnp.minimum(cells, size - 1), weights  # beyond the map all weights are 0
