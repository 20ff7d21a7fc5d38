"""Multi-scale test: average the maps of an image with those of it at other scales.

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


def average(
    predict: Callable[[Array, Array | None], DenseMaps],
    base: DenseMaps,
    image: Float[Array, "B H W 3"],
    scales: Sequence[int | float],
    valid_size: Int[Array, "B 2"] | None = None,
) -> DenseMaps:
    """Average the maps of images over scales.

    Args:
      predict: normalised images and their valid sizes -> their maps.
      base: maps of the images at scale 1.
      image: normalised; H and W are multiples of 32.
      scales: 1 and others.
      valid_size: height and width of each image, px, multiples of 32; None: all.

    Returns:
      The averages, in cells of scale 1, whose embedding they have, as with the flip
      test.
    """
    heatmaps, offsets = [base.heatmaps], [base.offsets]
    for scale in scales:
        if scale != 1:
            scaled = scale_images(image, scale, valid_size)
            scaled_maps = predict(scaled.image, scaled.valid_size)
            maps = to_base(scaled_maps, scaled, base.heatmaps.shape[1:3])
            heatmaps.append(maps.heatmaps)
            offsets.append(maps.offsets)
    if len(heatmaps) == 1:
        return base
    return DenseMaps(
        jnp.mean(jnp.stack(heatmaps), axis=0),
        jnp.mean(jnp.stack(offsets), axis=0),
        base.embedding,
    )


def scaled_length(length: Any, scale: int | float) -> int:
    """The multiple of 32 px nearest to a side at another scale, at least 32.

    Args:
      length: of the side, an int.
      scale: factor.

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
    """Bring the maps of scaled images to the cells of scale 1.

    A cell lies at `STRIDE` times its index in input px (`geometry.cell_to_input`), at
    either scale, and pixels are resized about their edges; so where a keypoint's peak
    is at scale 1, it is here. Resizing maps as if they were images would move it by
    up to 0.4 cells.

    Args:
      maps: of `scaled.image`.
      scaled: see `scale_images`.
      size: height and width at scale 1, cells.

    Returns:
      Heatmaps and offsets, both in cells of scale 1; the embedding unchanged.
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
