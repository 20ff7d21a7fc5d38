"""Run a method's named stages, from the images or from any arrays between."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from logocap_jax.methods.base import Stage, Variables

SLOT_IMAGE = "image_of_slot"
"""Name of the array that tells the image of each row of a stage of slots."""
VALID = "valid"
"""Name of the array `[B, N]` that tells which slots hold a pose."""


def run_stages(
    stages: Iterable[Stage],
    variables: Variables,
    given: Mapping[str, Any],
    wanted: Sequence[str],
) -> dict[str, Any]:
    """Run the stages that lead from given arrays to wanted ones.

    Consecutive stages of slots run in one loop over the slots that hold a pose, of all
    images together: its time follows their number, and a crowd in one image does not
    cost the others anything. Rows of other slots are arbitrary.

    Args:
      stages: of a method, in order.
      variables: of the method.
      given: arrays by name; of a stage's results too, which it then need not compute.
        Arrays of slots are `[B, N, ...]`.
      wanted: names of arrays to return.

    Raises:
      ValueError: if an array is neither given nor computed.
    """
    arrays = dict(given)
    groups = [
        list(group)
        for _, group in itertools.groupby(
            needed_stages(stages, given, wanted), key=lambda stage: stage.per_slot
        )
    ]
    for number, group in enumerate(groups):
        if group[0].per_slot:
            later = itertools.chain(*groups[number + 1 :])
            kept = {*wanted, *(name for stage in later for name in stage.reads)}
            arrays = _run_slots(group, variables, arrays, kept) | arrays
        else:
            arrays = _run_images(group, variables, arrays)
    return {name: arrays[name] for name in wanted}


def needed_stages(
    stages: Iterable[Stage], given: Iterable[str], wanted: Iterable[str]
) -> list[Stage]:
    """The stages that lead from given arrays to wanted ones, in order.

    Raises:
      ValueError: if an array is neither given nor written by a stage.
    """
    known, needed = {*given, SLOT_IMAGE}, list[Stage]()
    missing = set(wanted) - known
    for stage in reversed(tuple(stages)):
        if missing & set(stage.writes):
            needed.insert(0, stage)
            reads = {*stage.reads, *([VALID] if stage.per_slot else [])}
            missing = (missing - set(stage.writes)) | (reads - known)
    if missing:
        raise ValueError(
            f"got no array {min(missing)!r}, expected it to be given or to be written "
            "by a stage"
        )
    return needed


def _run_images(
    stages: Iterable[Stage], variables: Variables, arrays: Mapping[str, Any]
) -> dict[str, Any]:
    """All arrays after some stages; those that were there before stay."""
    arrays = dict(arrays)
    for stage in stages:
        results = stage.run(variables, *(arrays[name] for name in stage.reads))
        arrays = dict(zip(stage.writes, results, strict=True)) | arrays
    return arrays


def _run_slots(
    stages: Sequence[Stage],
    variables: Variables,
    arrays: Mapping[str, Any],
    kept: set[str],
) -> dict[str, Any]:
    """The arrays named `kept` that stages of slots write, `[B, N, ...]`."""
    batch, count = arrays[VALID].shape
    read = {name for stage in stages for name in stage.reads} & arrays.keys()
    whole = {name for stage in stages for name in stage.whole}
    image = jnp.broadcast_to(jnp.arange(batch)[:, None], (batch, count))
    slots = {name: arrays[name] for name in read - whole} | {SLOT_IMAGE: image}
    written = {name for stage in stages for name in stage.writes} & kept

    def compute(rows: dict[str, Any]) -> dict[str, Any]:
        values = {name: arrays[name] for name in read & whole} | rows
        values = _run_images(stages, variables, values)
        return {name: values[name] for name in written}

    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), slots)
    chunk = min(stages[0].per_slot, count) * batch
    results = map_valid(compute, rows, arrays[VALID].reshape(-1), chunk=chunk)
    return jax.tree.map(lambda x: x.reshape(batch, count, *x.shape[1:]), results)


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
