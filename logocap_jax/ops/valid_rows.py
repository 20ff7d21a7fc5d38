"""Work that grows with the valid rows of an array, though its shape is fixed."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

_Rows = TypeVar("_Rows")
_Results = TypeVar("_Results")


def map_valid(
    function: Callable[[_Rows], _Results],
    rows: _Rows,
    valid: Bool[Array, " R"],
    *,
    chunk: Any,
) -> _Results:
    """Apply a function to valid rows only, some at a time, wherever they lie.

    One compiled program does for any number of valid rows: a loop of
    `ceil(valid rows / chunk)` steps. It has no reverse-mode gradient.

    Args:
      function: `chunk` rows -> as many results; the result of a row depends on
        nothing but that row.
      rows: arrays whose first axis is R.
      valid: rows to compute; the results of others are arbitrary.
      chunk: rows per step, an int or a symbolic dimension of `jax.export`; R: all rows
        at once, without a loop.
    """
    size = valid.shape[0]
    if chunk >= size:
        return function(rows)
    order = jnp.argsort(~valid, stable=True)  # valid rows first

    @functools.partial(jax.jit, inline=True)  # traced once for its shapes and the loop
    def compute(rows: _Rows, index: Array) -> _Results:
        return function(jax.tree.map(lambda x: x[index], rows))

    def step(i: Array, results: _Results) -> _Results:
        # Where chunks do not divide R, the last one repeats rows of the one before.
        index = lax.dynamic_slice_in_dim(order, i * chunk, chunk)
        return jax.tree.map(
            lambda total, chunk: total.at[index].set(chunk),
            results,
            compute(rows, index),
        )

    index = jax.ShapeDtypeStruct((chunk,), order.dtype)
    shapes = jax.eval_shape(compute, rows, index)
    start = jax.tree.map(
        lambda result: jnp.zeros((size, *result.shape[1:]), result.dtype), shapes
    )
    steps = (jnp.sum(valid) + chunk - 1) // chunk
    return lax.fori_loop(0, steps, step, start)
