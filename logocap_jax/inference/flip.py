"""Flip test: average the maps of an image with those of its mirror image."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logocap_jax.structures import DenseMaps


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


def merge(
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
