"""Arrays around the network: the reference's maps as ours, noise, centre values."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax.parity.inference_stages import InferenceStages, Maps
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import DenseMaps


def filled_maps(arrays: Arrays) -> Maps:
    """The reference's raw maps; zeros for those that the case does not hold."""
    heatmaps = arrays["heatmaps_raw"]
    *shape, kinds = heatmaps.shape
    return {
        "heatmaps_raw": heatmaps,
        "offsets_raw": arrays.get(
            "offsets_raw", np.zeros((*shape, kinds - 1, 2), np.float32)
        ),
        "embedding": arrays.get("embedding", np.zeros((*shape, 1), np.float32)),
    }


def reference_maps(arrays: Arrays, stages: InferenceStages) -> DenseMaps:
    """The reference's averaged maps, as far as the case holds them."""
    maps = stages.merge(filled_maps(arrays))
    if "offsets" in arrays:
        return dataclasses.replace(maps, offsets=jnp.asarray(arrays["offsets"][0]))
    return maps


def values_at(
    center_map: Float[np.ndarray, "H W"], centers: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    """Values of a map in input px at centers, which lie on its pixels."""
    x, y = centers.astype(int).T
    return center_map[y, x]


def rounding_noise(shape: tuple[int, ...]) -> Float[np.ndarray, "R H W 3"]:
    """Factors of one float32 rounding step up or down; the same ones in every run."""
    signs = np.random.default_rng(0).choice([-1, 1], shape)
    return (1 + signs * np.finfo(np.float32).eps).astype(np.float32)
