"""ONNX nodes for JAX's operations that move, order and look up elements."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.extend.core import JaxprEqn
from jax.lax import GatherDimensionNumbers, GatherScatterMode

from logocap_jax.export.to_onnx.graph import (
    Graph,
    Value,
    dtype_of,
    numbers,
    shape_of,
    unknown,
)
from logocap_jax.export.to_onnx.operators import Operator, cast

_BEFORE = np.iinfo(np.int64).min  # the end of a slice that goes down to element 0


def _rearrange(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    """Any operation that takes elements of its first input from known places.

    JAX computes the places: the operation runs on the elements' numbers. Those in
    steps are a `Slice`, which runtimes pass over fastest.
    """
    if any(isinstance(value, str) for value in inputs[1:]):
        raise unknown(f"{equation.primitive.name!r} at computed places")
    shape = shape_of(equation.invars[0])
    places = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    params = equation.params | (
        {"fill_value": -1} if "fill_value" in equation.params else {}
    )
    places = np.asarray(equation.primitive.bind(places, *inputs[1:], **params))
    if (places < 0).any():
        raise unknown(f"{equation.primitive.name!r} at places outside of its array")
    result = inputs[0]
    per_axis = _per_axis(places, shape)
    if per_axis is None:
        flat = graph.add("Reshape", result, numbers([-1]))
        return graph.add("Gather", flat, places.astype(np.int64), axis=0)
    sliced = []
    for axis, taken in enumerate(per_axis):
        step = int(taken[1] - taken[0]) if len(taken) > 1 else 1
        if step == 0 or not np.array_equal(np.diff(taken), [step] * (len(taken) - 1)):
            result = graph.add("Gather", result, taken, axis=axis)
        elif len(taken) != shape[axis] or step < 0:
            end = int(taken[-1]) + step
            sliced.append((int(taken[0]), end if end >= 0 else _BEFORE, axis, step))
    if sliced:
        columns = map(numbers, zip(*sliced, strict=True))
        result = graph.add("Slice", result, *columns)
    return result


def _per_axis(places: np.ndarray, shape: Sequence[int]) -> list[np.ndarray] | None:
    """Places as an index into each axis, if they are the product of such indices."""
    if places.ndim != len(shape) or not places.size:
        return None
    coordinates = np.unravel_index(places, shape)
    taken = [
        np.moveaxis(coordinate, axis, 0).reshape(places.shape[axis], -1)[:, 0]
        for axis, coordinate in enumerate(coordinates)
    ]
    product = np.ravel_multi_index(np.ix_(*taken), shape)
    if not np.array_equal(product, places):
        return None
    return [index.astype(np.int64) for index in taken]


def _gather(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    """Slices from computed places: rows of a table, looked up by their number."""
    if not isinstance(inputs[1], str):
        return _rearrange(graph, equation, inputs)
    params = equation.params
    if params["mode"] == GatherScatterMode.FILL_OR_DROP:
        raise unknown("a look-up that fills in what is outside")
    layout, sizes = params["dimension_numbers"], params["slice_sizes"]
    shape, out = shape_of(equation.invars[0]), shape_of(equation.outvars[0])
    whole = _whole_axes(layout, sizes, shape, len(out))
    row_shape, out_shape = shape[: len(shape) - whole], out[: len(out) - whole]
    strides = np.cumprod([1, *row_shape[:0:-1]], dtype=np.int64)[::-1]
    looked_up = list(layout.start_index_map)
    last = np.array([shape[axis] - sizes[axis] for axis in looked_up], np.int64)

    begin = cast(graph, inputs[1], np.dtype(np.int64))
    begin = graph.add("Max", graph.add("Min", begin, last), np.zeros_like(last))
    begin = graph.add("Mul", begin, strides[looked_up])
    begin = graph.add("ReduceSum", begin, numbers([-1]), keepdims=0)
    in_slice = set(layout.offset_dims)
    kept = [1 if axis in in_slice else side for axis, side in enumerate(out_shape)]
    begin = graph.add("Reshape", begin, numbers(kept))
    places = graph.add("Add", begin, _known_places(layout, sizes, strides, out_shape))
    table = graph.add("Reshape", inputs[0], numbers([-1, *shape[len(row_shape) :]]))
    return graph.add("Gather", table, places, axis=0)


def _whole_axes(
    layout: GatherDimensionNumbers,
    sizes: Sequence[int],
    shape: Sequence[int],
    out_rank: int,
) -> int:
    """Number of last axes that each slice holds in full, as the last of the result."""
    absent = {*layout.collapsed_slice_dims, *layout.operand_batching_dims}
    offsets = list(layout.offset_dims)
    whole = 0
    for axis in reversed(range(len(shape))):
        is_last = offsets and offsets.pop() == out_rank - 1 - whole
        looked_up = axis in absent or axis in layout.start_index_map
        if looked_up or not is_last or sizes[axis] != shape[axis]:
            break
        whole += 1
    return whole


def _known_places(
    layout: GatherDimensionNumbers,
    sizes: Sequence[int],
    strides: np.ndarray,
    out_shape: Sequence[int],
) -> np.ndarray:
    """The part of the rows' numbers that depends on the place in the result alone."""
    absent = {*layout.collapsed_slice_dims, *layout.operand_batching_dims}
    sliced = [axis for axis in range(len(sizes)) if axis not in absent]
    batch = [axis for axis in range(len(out_shape)) if axis not in layout.offset_dims]
    pairs = [
        *zip(sliced, layout.offset_dims, strict=True),
        *(
            (axis, batch[position])
            for axis, position in zip(
                layout.operand_batching_dims,
                layout.start_indices_batching_dims,
                strict=True,
            )
        ),
    ]
    places = np.zeros([1] * len(out_shape), np.int64)
    for axis, out_axis in pairs:
        if axis < len(strides):
            steps = np.arange(out_shape[out_axis]) * strides[axis]
            places = places + np.expand_dims(
                steps, [other for other in range(len(out_shape)) if other != out_axis]
            )
    return places


def _scatter(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    """Elements replaced at known places: each comes from the old or the new ones."""
    old, places, new = inputs
    if isinstance(places, str):
        raise unknown("'scatter' at computed places")
    shape, new_shape = (shape_of(equation.invars[i]) for i in (0, 2))
    count, new_count = int(np.prod(shape)), int(np.prod(new_shape))
    numbered = np.arange(count + new_count, dtype=np.int32)
    source = equation.primitive.bind(
        numbered[:count].reshape(shape),
        places,
        numbered[count:].reshape(new_shape),
        **equation.params,
    )
    flat = [graph.add("Reshape", value, numbers([-1])) for value in (old, new)]
    both = graph.add("Concat", *flat, axis=0)
    return graph.add("Gather", both, np.asarray(source, np.int64), axis=0)


def _sort(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> list[str]:
    """Sort in ascending order; stable, in ONNX as in JAX."""
    if equation.params["num_keys"] != 1:
        raise unknown("a sort by several keys")
    axis = int(equation.params["dimension"])
    count = numbers([shape_of(equation.invars[0])[axis]])
    key, order = graph.add_many(
        "TopK", inputs[0], count, outputs=2, axis=axis, largest=0, sorted=1
    )
    others = inputs[1:]
    return [key, *(graph.add("GatherElements", x, order, axis=axis) for x in others)]


def _top_k(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> list[str]:
    params = equation.params
    count, axis = numbers([params["k"]]), int(params["axis"])
    values, places = graph.add_many("TopK", inputs[0], count, outputs=2, axis=axis)
    return [values, cast(graph, places, dtype_of(equation.outvars[1]))]


def _argmax(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    (axis,) = equation.params["axes"]
    index = graph.add("ArgMax", inputs[0], axis=int(axis), keepdims=0)
    return cast(graph, index, dtype_of(equation.outvars[0]))


def _largest_in_window(
    graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]
) -> str:
    """`MaxPool` along the axes whose windows are larger than 1; at most 3 of them."""
    params, shape = equation.params, shape_of(equation.invars[0])
    steps = [step.primitive.name for step in getattr(params.get("jaxpr"), "eqns", ())]
    dilations = {*params["base_dilation"], *params["window_dilation"]}
    windows, strides = params["window_dimensions"], params["window_strides"]
    axes = [axis for axis, n in enumerate(windows) if (n, strides[axis]) != (1, 1)]
    if steps not in ([], ["max"]) or dilations != {1} or len(axes) > 3:
        raise unknown("a reduction over windows that is no maximum along 3 axes")
    order = [*(axis for axis in range(len(shape)) if axis not in axes), *axes]
    low, high = zip(*(params["padding"][axis] for axis in axes), strict=True)
    value = graph.add("Transpose", inputs[0], perm=order)
    sides = [shape[axis] for axis in axes]
    value = graph.add("Reshape", value, numbers([-1, 1, *sides]))
    value = graph.add(
        "MaxPool",
        value,
        kernel_shape=[windows[axis] for axis in axes],
        strides=[strides[axis] for axis in axes],
        pads=[int(side) for side in (*low, *high)],
    )
    result = shape_of(equation.outvars[0])
    value = graph.add("Reshape", value, numbers([result[axis] for axis in order]))
    return graph.add("Transpose", value, perm=np.argsort(order).tolist())


OPERATORS: Mapping[str, Operator] = {
    "argmax": _argmax,
    "dynamic_slice": _rearrange,
    "gather": _gather,
    "reduce_window": _largest_in_window,
    "reduce_window_max": _largest_in_window,
    "rev": _rearrange,
    "scatter": _scatter,
    "slice": _rearrange,
    "sort": _sort,
    "top_k": _top_k,
}
