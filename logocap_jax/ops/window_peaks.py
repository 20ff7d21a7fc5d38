"""Window, reweighing, dynamic convolution and peaks in one kernel, for TPUs.

Between the cells of the heatmap that a window reads and the two largest values of
the adapted window, nothing leaves the chip's own memory.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from logocap_jax.ops.sampling import upsampled_weights

# A row of a TPU's registers; the results of a window take the first few places of one.
_LANES = 128


def window_peaks(
    cells: Float[Array, "M n n"],
    first: Int[Array, "M 2"],
    center: Float[Array, "M 2"],
    within: Int[Array, "M 2"],
    kernels: Float[Array, "M E E"],
    weight: Float[Array, "G G"],
    *,
    stride: int,
    interpret: bool = False,
) -> tuple[Float[Array, "M 2 2"], Float[Array, "M 2"]]:
    """`top_two(instance_convolution(sample_window(...) * weight, kernels))`.

    One program for each window. It has no gradient.

    Args:
      cells: what each window reads, and
      first: the row and column of its first cell: `sampling.window_cells`.
      center: `(x, y)` of each window, in pixels of the upsampled map.
      within: how many rows and columns of cells are image.
      kernels: one kernel of odd side `E` per window.
      weight: what each window is multiplied with; `G` is odd.
      stride: factor of the upsampling.
      interpret: run on any device, slowly, to test.

    Returns:
      As `peaks.top_two`: positions `(x, y)` and values, largest first.
    """
    count, size = cells.shape[:2]
    kernel_size, side = kernels.shape[-1], weight.shape[-1]
    pad = kernel_size // 2
    numbers = jnp.concatenate(
        [x.astype(jnp.float32) for x in (center[:, ::-1], first, within)], axis=1
    )

    def own(height: int, width: int, **options: Any) -> pl.BlockSpec:
        return pl.BlockSpec((1, height, width), lambda m: (m, 0, 0), **options)

    padded_side = side + 2 * pad
    found = pl.pallas_call(
        functools.partial(_find_peaks, stride=stride, side=side),
        grid=(count,),
        in_specs=[
            own(1, 6, memory_space=pltpu.SMEM),
            own(kernel_size, kernel_size, memory_space=pltpu.SMEM),
            own(size, size),
            pl.BlockSpec((padded_side, padded_side), lambda m: (0, 0)),
        ],
        out_specs=own(1, _LANES),
        out_shape=jax.ShapeDtypeStruct((count, 1, _LANES), jnp.float32),
        interpret=interpret,
    )(numbers[:, None], kernels, cells, jnp.pad(weight, pad))
    place, values = found[:, 0, :2].astype(jnp.int32), found[:, 0, 2:4]
    y, x = jnp.divmod(place, side)
    return jnp.stack([x, y], axis=-1).astype(jnp.float32), values


def _find_peaks(
    numbers: Any,
    kernel: Any,
    cells: Any,
    weight: Any,
    found: Any,
    *,
    stride: int,
    side: int,
) -> None:
    """One window, from its cells to the places and values of its two peaks."""
    window = _sample(numbers, cells[0], weight.shape[0], stride) * weight[...]
    adapted = _convolve(window, kernel, side)
    found[0] = _top_two(adapted)


def _sample(numbers: Any, cells: Array, side: int, stride: int) -> Array:
    """The window and, all around, what its convolution multiplies with zero."""

    def weights(axis: int, shape: tuple[int, int]) -> Array:
        # Positions run along one axis of the weights, cells along the other.
        step = lax.broadcasted_iota(jnp.int32, shape, axis).astype(jnp.float32)
        cell = lax.broadcasted_iota(jnp.int32, shape, 1 - axis).astype(jnp.float32)
        return upsampled_weights(
            numbers[0, 0, axis] + (step - side // 2),
            numbers[0, 0, 2 + axis] + cell,
            stride=stride,
            within=numbers[0, 0, 4 + axis].astype(jnp.int32),
        )

    size = cells.shape[0]
    dot = functools.partial(
        jnp.dot, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    return dot(dot(weights(0, (side, size)), cells), weights(1, (size, side)))


def _convolve(padded: Array, kernel: Any, side: int) -> Array:
    """As `instance_convolution`, of a window that is padded already."""
    last = padded.shape[0] - side
    result = jnp.zeros((side, side), jnp.float32)
    for j in range(last + 1):  # columns first: shifting them is the dear part
        columns = padded[:, j : j + side]
        for i in range(last + 1):
            result += kernel[0, last - i, last - j] * columns[i : i + side]
    return result


def _top_two(adapted: Array) -> Array:
    """Places, row by row, and values of the two largest, in a row: `peaks.top_two`."""
    side = adapted.shape[0]
    row, column = (lax.broadcasted_iota(jnp.int32, adapted.shape, i) for i in (0, 1))
    place = (row * side + column).astype(jnp.float32)
    beyond = float(side * side)

    def first_largest(values: Array) -> tuple[Array, Array]:
        most = jnp.max(values)
        return most, jnp.min(jnp.where(values == most, place, beyond))

    most, where = first_largest(adapted)
    second, behind = first_largest(jnp.where(place == where, -jnp.inf, adapted))
    turned = (most == second) & (behind > 1)
    results = (
        jnp.where(turned, behind, where),
        jnp.where(turned, where, behind),
        most,
        second,
    )
    lane = lax.broadcasted_iota(jnp.int32, (1, _LANES), 1)
    line = jnp.zeros((1, _LANES), jnp.float32)
    for i, value in enumerate(results):
        line = jnp.where(lane == i, value, line)
    return line
