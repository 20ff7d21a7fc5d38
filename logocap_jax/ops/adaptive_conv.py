"""Adaptive convolution: nine taps whose positions move with the pixel.

Specification, 3. Positions are `(y, x)` here, in cells of the map; groups of channels
are consecutive. A pixel's frame is an origin and two vectors: tap `(gy, gx)` reads
`origin + gy * down + gx * right`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

# Share of origin, down and right in each tap's position, row by row.
_TAPS = np.array([(1, y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)])
# Channels are padded to whole vectors of a processor.
_LANES = 16
# Pixels at a time, so that a CPU's cache holds what one tap reads.
_BLOCK = 4096
# Indices are always within; XLA itself takes care of those of NaN.
_IN_BOUNDS: Mapping[str, Any] = {
    "mode": "promise_in_bounds",
    "wrap_negative_indices": False,
}


class _Rules(NamedTuple):
    """The arguments that are no arrays, and the size of the map."""

    height: int
    width: int
    dilation: int
    zero_at_border: bool


class _Arranged(NamedTuple):
    """The arguments: groups first, pixels in blocks, each a row of channels."""

    rows: Float[Array, "G B R c"]  #: maps with a border of zeros
    frames: Float[Array, "G B blocks 3 2 n"]
    kernel: Float[Array, "G 9 c f"]


def adaptive_convolution(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "3 3 c F"],
    transform: Float[Array, "B h w G 2 2"],
    shift: Float[Array, "B h w G 2"] | None = None,
    *,
    dilation: int = 1,
    zero_at_border: bool = False,
) -> Float[Array, "B h w F"]:
    """Convolve a map at positions that each pixel chooses.

    Tap `g` of pixel `q` reads `q + (dilation - 1) g + transform g + shift`: bilinear,
    zeros outside. Derivatives with respect to positions are right-hand ones, as
    training starts at whole positions.

    Args:
      x: the map, `C = G * c`.
      kernel: output channels are grouped as those of a grouped convolution.
      transform: a matrix for each pixel and group, on `(y, x)` columns.
      shift: a translation `(y, x)` for each pixel and group; None: 0.
      dilation: of the fixed ring that transform and shift are added to.
      zero_at_border: derivatives with respect to a position at exactly -1 are 0.
    """
    rules = _Rules(*x.shape[1:3], dilation, zero_at_border)
    return _convolve(rules, x, kernel, transform, shift)


def sampled_positions(
    transform: Float[Array, "*pixels 2 2"],
    shift: Float[Array, "*pixels 2"] | None = None,
    dilation: int = 1,
) -> Float[Array, "*pixels 9 2"]:
    """Displacement `(x, y)` of each of the nine taps from its pixel, in cells."""
    matrix = jnp.moveaxis(transform, (-2, -1), (0, 1))
    vector = None if shift is None else jnp.moveaxis(shift, -1, 0)
    frame = _frame(matrix, vector, dilation)
    taps = jax.vmap(_position, in_axes=(None, 0))(frame, jnp.asarray(_TAPS))
    return jnp.moveaxis(taps, (0, 1), (-2, -1))[..., ::-1]


def _frame(
    matrix: Float[Array, "2 2 *pixels"], vector: Array | None, dilation: int
) -> Float[Array, "3 2 *pixels"]:
    """Origin (from the pixel), down, right."""
    origin = jnp.zeros_like(matrix[0]) if vector is None else vector
    ring = (dilation - 1) * jnp.eye(2, dtype=matrix.dtype)
    columns = jnp.swapaxes(matrix, 0, 1) + ring.reshape(2, 2, *(1,) * (origin.ndim - 1))
    return jnp.concatenate([origin[None], columns])


def _position(frame: Float[Array, "3 2 *pixels"], tap: Array) -> Array:
    return frame[0] + tap[1] * frame[1] + tap[2] * frame[2]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(
    rules: _Rules, x: Array, kernel: Array, transform: Array, shift: Array | None
) -> Array:
    convolve = functools.partial(_convolve_image, rules)
    arranged = _arrange(rules, x, kernel, transform, shift)
    result = _each_group(jax.vmap(convolve, in_axes=(0, 0, None)), *arranged)
    result = jnp.moveaxis(result, 0, -2)  # [B blocks n G f]
    return result.reshape(*x.shape[:3], -1).astype(x.dtype)


def _forward(rules: _Rules, *inputs: Any) -> tuple[Array, tuple[Any, ...]]:
    return _convolve(rules, *inputs), inputs


def _backward(
    rules: _Rules, inputs: tuple[Any, ...], gradient: Array
) -> tuple[Any, ...]:
    """Derivatives in one pass; samples are taken again, none is kept."""
    arranged, pull_back = jax.vjp(functools.partial(_arrange, rules), *inputs)
    groups, batch, blocks, *_, size = arranged.frames.shape
    gradient = jnp.moveaxis(gradient.reshape(batch, blocks, size, groups, -1), 3, 0)
    differentiate = functools.partial(_differentiate_image, rules)
    rows, frames, kernel = _each_group(
        jax.vmap(differentiate, in_axes=(0, 0, None, 0)), *arranged, gradient
    )
    # Images are summed here, not in the loops: over devices that is one sum.
    found = _Arranged(rows, frames, jnp.sum(kernel, axis=1))
    return pull_back(jax.tree.map(lambda a, b: a.astype(b.dtype), found, arranged))


_convolve.defvjp(_forward, _backward)


def _each_group(function: Callable[..., Any], *arguments: Array) -> Any:
    """Apply a function to all groups: in turn on a CPU, whose cache holds one."""
    return lax.platform_dependent(
        *arguments,
        cpu=lambda *arrays: lax.map(lambda group: function(*group), arrays),
        default=jax.vmap(function),
    )


def _arrange(
    rules: _Rules, x: Array, kernel: Array, transform: Array, shift: Array | None
) -> _Arranged:
    batch, height, width, groups = transform.shape[:4]
    maps = x.reshape(batch, height, width, groups, -1)
    channels = maps.shape[-1]
    spare = (0, -channels % _LANES)
    # With zeros around no sample needs a mask; a read beyond the end of a row of the
    # map meets the zero before the next.
    maps = jnp.pad(maps, ((0, 0), (1, 2), (1, 1), (0, 0), spare))
    rows = jnp.moveaxis(maps, 3, 0).reshape(groups, batch, -1, channels + spare[1])
    kernel = jnp.moveaxis(kernel.reshape(9, channels, groups, -1), 2, 0)
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), spare, (0, 0)))
    return _Arranged(rows, _arrange_frames(rules, transform, shift), kernel)


def _arrange_frames(
    rules: _Rules, transform: Array, shift: Array | None
) -> Float[Array, "G B blocks 3 2 n"]:
    batch, height, width, groups = transform.shape[:4]
    matrix = jnp.transpose(transform, (4, 5, 3, 0, 1, 2))
    vector = None if shift is None else jnp.transpose(shift, (4, 3, 0, 1, 2))
    frame = _frame(matrix, vector, rules.dilation)  # [3 2 G B h w]
    pixels = jnp.mgrid[:height, :width].astype(frame.dtype)
    frame = frame.at[0].add(pixels[:, None, None])
    rows = max(n for n in range(1, height + 1) if _is_block(n, height, width))
    frame = frame.reshape(3, 2, groups, batch, -1, rows * width)
    return jnp.transpose(frame, (2, 3, 4, 0, 1, 5))


def _is_block(rows: int, height: int, width: int) -> bool:
    return height % rows == 0 and (rows == 1 or rows * width <= _BLOCK)


def _convolve_image(
    rules: _Rules,
    rows: Float[Array, "R c"],
    frames: Float[Array, "blocks 3 2 n"],
    kernel: Float[Array, "9 c f"],
) -> Float[Array, "blocks n f"]:
    def convolve(frame: Array) -> Array:
        def add_tap(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
            place, kernel = tap
            samples = _locate(rules, _position(frame, place))
            sample = _blend(samples, _read(samples, rows), kernel.dtype)
            return total + _matmul(sample, kernel, total.dtype), None

        zeros = jnp.zeros((frame.shape[-1], kernel.shape[-1]), frame.dtype)
        taps = jnp.asarray(_TAPS, frame.dtype)
        return lax.scan(add_tap, zeros, (taps, kernel))[0]

    return lax.map(convolve, frames)


def _differentiate_image(
    rules: _Rules,
    rows: Float[Array, "R c"],
    frames: Float[Array, "blocks 3 2 n"],
    kernel: Float[Array, "9 c f"],
    gradient: Float[Array, "blocks n f"],
) -> tuple[Float[Array, "R c"], Float[Array, "blocks 3 2 n"], Float[Array, "9 c f"]]:
    """Gradients of rows, frames and kernel."""
    dtype = frames.dtype
    taps = jnp.asarray(_TAPS, dtype)

    def differentiate(of_rows: Array, block: tuple[Array, Array]) -> Any:
        frame, gradient = block
        by_channel = lax.optimization_barrier(gradient.T)

        def add_tap(totals: tuple[Array, Array], tap: tuple[Array, Array]) -> Any:
            (of_rows, of_frame), (place, kernel) = totals, tap
            samples = _locate(rules, _position(frame, place))
            near = lax.optimization_barrier(_read(samples, rows))
            of_kernel = _matmul(by_channel, _blend(samples, near, kernel.dtype), dtype)
            of_sample = lax.optimization_barrier(_matmul(gradient, kernel.T, dtype))
            of_rows = _add(samples, of_rows, of_sample)
            of_position = _differentiate_weights(samples, near, of_sample)
            of_frame = of_frame + place[:, None, None] * of_position
            return (of_rows, of_frame), of_kernel.T

        totals = (of_rows, jnp.zeros_like(frame))
        (of_rows, of_frame), of_kernel = lax.scan(add_tap, totals, (taps, kernel))
        return of_rows, (of_frame, of_kernel)

    of_rows = jnp.zeros(rows.shape, dtype)
    of_rows, (of_frames, of_kernel) = lax.scan(
        differentiate, of_rows, (frames, gradient)
    )
    return of_rows, of_frames, jnp.sum(of_kernel, axis=0)


class _Samples(NamedTuple):
    """Positions between four neighbours: first row, then next row."""

    indices: list[Int[Array, " n"]]  #: of the neighbours' rows
    weights: list[Float[Array, " n"]]
    fraction: Float[Array, "2 n"]  #: (y, x), from the first neighbour


def _locate(rules: _Rules, position: Float[Array, "2 n"]) -> _Samples:
    size = jnp.asarray([[rules.height], [rules.width]], position.dtype)
    before = position <= -1 if rules.zero_at_border else position < -1
    outside = jnp.any(before | (position >= size), axis=0)
    position = jnp.where(outside, size, position)  # there are only zeros
    lower = jnp.floor(position)
    y, x = lower.astype(jnp.int32) + 1
    stride = rules.width + 2
    indices = [y * stride + x + step for step in (0, 1, stride, stride + 1)]
    fraction = position - lower
    return lax.optimization_barrier(_Samples(indices, _weights(fraction), fraction))


def _weights(fraction: Float[Array, "2 n"]) -> list[Float[Array, " n"]]:
    y, x = fraction
    return [(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]


def _read(samples: _Samples, rows: Float[Array, "R c"]) -> list[Float[Array, "n c"]]:
    return [rows.at[index].get(**_IN_BOUNDS) for index in samples.indices]


def _blend(samples: _Samples, near: list[Array], dtype: Any) -> Float[Array, "n c"]:
    """Samples, apart from the product that reads each of them many times."""
    pairs = zip(samples.weights, near, strict=True)
    sample = sum(weight[:, None] * values for weight, values in pairs)
    return lax.optimization_barrier(sample.astype(dtype))


def _add(
    samples: _Samples, rows: Float[Array, "R c"], values: Float[Array, "n c"]
) -> Float[Array, "R c"]:
    """Add to each neighbour its share."""
    for index, weight in zip(samples.indices, samples.weights, strict=True):
        rows = rows.at[index].add(weight[:, None] * values, **_IN_BOUNDS)
    return rows


def _differentiate_weights(
    samples: _Samples, near: list[Array], of_sample: Float[Array, "n c"]
) -> Float[Array, "2 n"]:
    of_weights = [jnp.einsum("nc,nc->n", of_sample, values) for values in near]
    _, pull_back = jax.vjp(_weights, samples.fraction)
    return pull_back(lax.optimization_barrier(of_weights))[0]


def _matmul(a: Array, b: Array, dtype: Any) -> Array:
    return jnp.matmul(a, b, preferred_element_type=dtype)
