"""Test-time averages: of an image and its mirror image, and of several scales.

Images are resized on the device, from the network's input at scale 1: so the compiled
function still takes images of one size. (DEKR and HigherHRNet warp the original image
for each scale, on the host. An input shorter than its original shows more at a scale
above 1 when warped so; COCO's images, most of 480 px, are enlarged already at 512.)
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.ops.sampling import resized_position, sample_grid
from logocap_jax.structures import DenseMaps

MULTIPLE = 32  # input px: HRNet's coarsest branch halves the image five times


class Scaled(NamedTuple):
    """Images at another scale.

    Attributes:
      image: normalised.
      valid_size: height and width of each image, px; None: all.
      factor: growth of the sides along y and x; without valid sizes, the same for all.
    """

    image: Float[Array, "B H W 3"]
    valid_size: Int[Array, "B 2"] | None
    factor: Float[Array, "... 2"]


def are_scales(value: object) -> bool:
    """Check scales of a test: different numbers above 0, 1 among them."""
    return (
        isinstance(value, tuple)
        and all(type(scale) in (int, float) for scale in value)
        and all(0 < scale < math.inf for scale in value)
        and len(set(value)) == len(value)
        and 1 in value
    )


def average_scales(
    predict: Callable[[Array, Array | None], DenseMaps],
    base: DenseMaps,
    image: Float[Array, "B H W 3"],
    scales: Sequence[int | float],
    valid_size: Int[Array, "B 2"] | None = None,
) -> DenseMaps:
    """Average the maps of images over scales, 1 among them.

    Args:
      predict: normalised images and their valid sizes -> their maps.
      base: maps at scale 1; the averages are in its cells and have its embedding.
      image: normalised; H and W are multiples of 32.
      scales: the scales.
      valid_size: height and width of each image, px, multiples of 32; None: all.
    """
    maps = [base]
    for scale in scales:
        if scale != 1:
            scaled = scale_images(image, scale, valid_size)
            scaled_maps = predict(scaled.image, scaled.valid_size)
            maps.append(to_base(scaled_maps, scaled, base.heatmaps.shape[1:3]))
    if len(maps) == 1:
        return base
    heatmaps, offsets = (
        jnp.mean(jnp.stack([getattr(each, name) for each in maps]), axis=0)
        for name in ("heatmaps", "offsets")
    )
    return DenseMaps(heatmaps, offsets, base.embedding)


def scaled_length(length: Any, scale: int | float) -> int:
    """The multiple of 32 px nearest to a side at another scale, at least 32.

    Raises:
      ValueError: if the length is not known when this is compiled.
    """
    try:
        size = operator.index(length)
    except TypeError as error:
        raise ValueError(
            f"test_scales: got scale {scale} of an input of any size, expected one of "
            "a fixed size; export with --size HxW, or at scale 1 alone"
        ) from error
    return max(math.floor(size * scale / MULTIPLE + 0.5), 1) * MULTIPLE


def scale_images(
    image: Float[Array, "B H W 3"],
    scale: int | float,
    valid_size: Int[Array, "B 2"] | None = None,
) -> Scaled:
    """Resize images, bilinear with half-pixel centres, each side by itself.

    Args:
      image: normalised; H and W are multiples of 32.
      scale: factor of the sides, before they are rounded to multiples of 32.
      valid_size: height and width of each image, px, multiples of 32; None: all.
    """
    sides = image.shape[1:3]
    target = [scaled_length(side, scale) for side in sides]
    within = jnp.asarray(sides) if valid_size is None else valid_size
    # By a table: arithmetic of another precision might round the other way.
    steps = range(max(sides) // MULTIPLE + 1)
    table = np.array([scaled_length(MULTIPLE * step, scale) for step in steps])
    scaled_size = jnp.asarray(table, jnp.int32)[within // MULTIPLE]
    factor = scaled_size.astype(jnp.float32) / within

    def resize(image: Array, factor: Array, within: Array) -> Array:
        rows, columns = (
            resized_position(jnp.arange(length), factor[axis])
            for axis, length in enumerate(target)
        )
        return sample_grid(image, rows, columns, within)

    axis = None if valid_size is None else 0
    resized = jax.vmap(resize, (0, axis, axis))(image, factor, within)
    return Scaled(resized, None if valid_size is None else scaled_size, factor)


def to_base(maps: DenseMaps, scaled: Scaled, size: tuple[int, ...]) -> DenseMaps:
    """Bring the maps of scaled images to the cells of scale 1, `size` (height, width).

    A cell lies at `STRIDE` times its index in input px (`geometry.cell_to_input`), at
    either scale, and pixels are resized about their edges; so where a keypoint's peak
    is at scale 1, it is here. Resizing maps as if they were images would move it by
    up to 0.4 cells. Offsets are in cells of scale 1, too; the embedding is unchanged.
    """
    valid_size = scaled.valid_size
    within = jnp.asarray(scaled.image.shape[1:3]) if valid_size is None else valid_size

    def resize(maps: Array, factor: Array, within: Array) -> Array:
        rows, columns = (
            (factor[axis] * (STRIDE * jnp.arange(length) + 0.5) - 0.5) / STRIDE
            for axis, length in enumerate(size)
        )
        channels = maps.reshape(*maps.shape[:2], -1)
        resized = sample_grid(channels, rows, columns, within // STRIDE)
        return resized.reshape(*size, *maps.shape[2:])

    axis = None if valid_size is None else 0
    resize_batch = jax.vmap(resize, (0, axis, axis))
    heatmaps = resize_batch(maps.heatmaps, scaled.factor, within)
    offsets = resize_batch(maps.offsets, scaled.factor, within)
    in_xy = scaled.factor[..., None, None, None, ::-1]
    return DenseMaps(heatmaps, offsets / in_xy, maps.embedding)


def mirror(
    maps: Float[Array, "B h w *channels"], width: Int[Array, " B"] | None = None
) -> Float[Array, "B h w *channels"]:
    """Mirror images or maps, or only their first `width` columns."""
    if width is None:
        return maps[:, :, ::-1]
    columns = (width[:, None] - 1 - jnp.arange(maps.shape[2])) % maps.shape[2]
    return jax.vmap(lambda rows, order: jnp.take(rows, order, axis=1))(maps, columns)


def mirror_heatmaps(
    heatmaps: Float[Array, "B h w K1"],
    flip_index: Int[np.ndarray, " K"],
    width: Int[Array, " B"] | None = None,
) -> Float[Array, "B h w K1"]:
    """Mirror maps, swapping left and right keypoints; the centre map stays last."""
    channels = np.append(flip_index, len(flip_index))
    return mirror(heatmaps, width)[..., channels]


def mirror_offsets(
    offsets: Float[Array, "B h w K 2"],
    flip_index: Int[np.ndarray, " K"],
    width: Int[Array, " B"] | None = None,
) -> Float[Array, "B h w K 2"]:
    """Mirror offset maps: as heatmaps, and x points the other way."""
    sign = jnp.asarray([-1.0, 1.0], offsets.dtype)
    return mirror(offsets, width)[..., flip_index, :] * sign


def average_mirrored(
    maps: DenseMaps,
    mirrored: DenseMaps,
    flip_index: Int[np.ndarray, " K"],
    width: Int[Array, " B"] | None = None,
) -> DenseMaps:
    """Average the maps of images and of their mirror images.

    Args:
      maps: predicted from the images; the result has their embedding (reference
        behaviour).
      mirrored: predicted from the mirrored images, not mirrored back.
      flip_index: for each keypoint its mirror image.
      width: valid columns of each image, from the first on, in cells; None: all.
    """
    heatmaps = mirror_heatmaps(mirrored.heatmaps, flip_index, width)
    offsets = mirror_offsets(mirrored.offsets, flip_index, width)
    return DenseMaps(
        heatmaps=(maps.heatmaps + heatmaps) / 2,
        offsets=(maps.offsets + offsets) / 2,
        embedding=maps.embedding,
    )
