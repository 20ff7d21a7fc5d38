"""The heat of keypoints: their heatmaps' values, read as each decoder does."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.methods import pose_map
from logocap_jax.methods.base import Variables
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.ops.sampling import resized_position


def read_below(
    config: DekrConfig,
    _: Variables,
    candidates: Array,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array]:
    """The fused heatmaps at each keypoint, rounded down (reference behaviour)."""
    shape = heatmaps[config.scales.index(1.0)].shape
    limits = jnp.asarray(shape[1:3]) * STRIDE if sizes is None else sizes
    last = jnp.broadcast_to(limits, (shape[0], 2))[:, None, None, ::-1] - 1
    pixels = jnp.clip(jnp.floor(candidates), 0, last)

    def read(maps: Array, pixels: Array, size: Array | None, scale: float) -> Array:
        cells = None if size is None else size // STRIDE
        return pose_map.read_upsampled(maps, pixels, cells, scale=scale)

    heat = [
        jax.vmap(partial(read, scale=scale))(
            maps, pixels, pose_map.scale_size(sizes, scale)
        )
        for scale, maps in zip(config.scales, heatmaps, strict=True)
    ]
    return (sum(heat[1:], start=heat[0]) / len(heat),)


def read_between(
    config: DekrConfig,
    _: Variables,
    candidates: Array,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array]:
    """Heat between cells, or between pixels of the heatmaps at input size.

    Behaviour of mmpose: of a side of n positions, `x` is read at `x n / (n - 1) - 1/2`.
    """
    (maps,) = heatmaps
    unit = STRIDE if config.rules.heat == "between" else 1

    def read(maps: Array, points: Array, cells: Array) -> Array:
        sides = cells[::-1] * (STRIDE // unit)
        position = points / unit * sides / (sides - 1) - 0.5
        position = jnp.clip(position, 0, sides - 1)
        if unit == STRIDE:
            return pose_map.read_between(maps, position, cells)
        return _read_between_pixels(maps, position, cells)

    cells = jnp.broadcast_to(jnp.asarray(maps.shape[1:3]), (maps.shape[0], 2))
    cells = cells if sizes is None else sizes // STRIDE
    return (jax.vmap(read)(maps, candidates, cells),)


def _read_between_pixels(
    maps: Float[Array, "h w K1"],
    position: Float[Array, "N K 2"],
    cells: Int[Array, "2"],
) -> Float[Array, "N K"]:
    """Bilinear values of maps that were resized to input size, half-pixel centres."""
    lower = jnp.floor(position)
    share = position - lower
    last = STRIDE * cells[::-1] - 1

    def corner(x: int, y: int) -> Array:
        pixel = jnp.minimum(lower + jnp.array([x, y]), last)
        weight = jnp.prod(jnp.where(jnp.array([x, y]), share, 1 - share), axis=-1)
        place = resized_position(pixel, STRIDE)
        return weight * pose_map.read_between(maps, place, cells)

    return sum(corner(x, y) for x in (0, 1) for y in (0, 1))  # type: ignore[return-value]


HEAT_READERS = {
    "below": read_below,
    "between": read_between,
    "pixels": read_between,
}
