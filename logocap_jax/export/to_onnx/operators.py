"""ONNX nodes for JAX's operations on whole arrays, matrices and convolutions."""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jax.extend.core import JaxprEqn
from onnx import helper

from logocap_jax.export.to_onnx.graph import (
    Atom,
    Graph,
    Value,
    dtype_of,
    numbers,
    shape_of,
    unknown,
)

# Adds the nodes of one equation; returns its output, or several.
Operator: TypeAlias = Callable[
    [Graph, JaxprEqn, Sequence[Value]], Value | Sequence[Value]
]


def stack(graph: Graph, values: Sequence[Value], axis: int) -> Value:
    """Arrays of one shape along a new axis."""
    if not any(isinstance(value, str) for value in values):
        return np.stack(values, axis)
    rows = [graph.add("Unsqueeze", value, numbers([axis])) for value in values]
    return graph.add("Concat", *rows, axis=axis)


def row(graph: Graph, value: Value, index: int, axis: int = 0) -> Value:
    """One row of an axis."""
    if not isinstance(value, str):
        return np.take(value, index, axis)
    return graph.add("Gather", value, np.array(index), axis=axis)


def cast(graph: Graph, value: Value, dtype: np.dtype) -> str:
    """A value in another dtype."""
    return graph.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(dtype))


def _elementwise(*names: str, **attributes: int) -> Operator:
    """One ONNX operator after the other; the first takes all inputs."""

    def operator(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
        first, *rest = names
        result = graph.add(first, *_shrunk(equation, inputs), **attributes)
        for name in rest:
            result = graph.add(name, result)
        return result

    return operator


def _shrunk(equation: JaxprEqn, inputs: Sequence[Value]) -> list[Value]:
    """Known inputs without the axes along which they only repeat.

    ONNX broadcasts them, so that masks and padding are not stored in full.
    """
    computed = [
        shape_of(atom)
        for atom, value in zip(equation.invars, inputs, strict=True)
        if isinstance(value, str)
    ]
    results = []
    for value in inputs:
        if not isinstance(value, str):
            for axis in range(value.ndim):
                first = value.take([0], axis)
                full = any(len(s) == value.ndim and s[axis] > 1 for s in computed)
                if full and np.array_equal(np.broadcast_to(first, value.shape), value):
                    value = first
        results.append(value)
    return results


def _max(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    """`Relu` where one of them is 0: runtimes fuse it with a convolution."""
    computed = [value for value in inputs if isinstance(value, str)]
    known = [value for value in inputs if not isinstance(value, str)]
    if known and not np.any(known[0]) and dtype_of(equation.outvars[0]).kind == "f":
        return graph.add("Relu", *computed)
    return graph.add("Max", *_shrunk(equation, inputs))


def _select(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    which, *cases = _shrunk(equation, inputs)
    if len(cases) != 2 or not _is_bool(equation.invars[0]):
        raise unknown("a choice among more than two")
    no, yes = cases
    if not _is_bool(equation.outvars[0]):
        return graph.add("Where", which, yes, no)
    # Runtimes choose among numbers only.
    other = graph.add("And", graph.add("Not", which), no)
    return graph.add("Or", graph.add("And", which, yes), other)


def _convert_dtype(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    dtype = dtype_of(equation.outvars[0])
    same = dtype_of(equation.invars[0]) == dtype
    return inputs[0] if same else cast(graph, inputs[0], dtype)


def _reshape(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    return graph.add("Reshape", inputs[0], numbers(shape_of(equation.outvars[0])))


def _broadcast(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    given, wanted = shape_of(equation.invars[0]), shape_of(equation.outvars[0])
    kept = np.ones(len(wanted), np.int64)
    kept[list(equation.params["broadcast_dimensions"])] = given
    result = inputs[0]
    if tuple(kept) != given:
        result = graph.add("Reshape", result, kept)
    if tuple(kept) != wanted:
        result = graph.add("Expand", result, numbers(wanted))
    return result


def _transpose(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    return permuted(graph, inputs[0], equation.params["permutation"])


def permuted(graph: Graph, value: Value, order: Sequence[int]) -> Value:
    """A value with its axes in another order."""
    if not isinstance(value, str):
        return value.transpose(order)
    return graph.add("Transpose", value, perm=[int(axis) for axis in order])


def _concatenate(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    return graph.add("Concat", *inputs, axis=int(equation.params["dimension"]))


def _split(
    graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]
) -> Sequence[Value]:
    sizes, axis = equation.params["sizes"], int(equation.params["axis"])
    count = len(sizes)
    return graph.add_many("Split", inputs[0], numbers(sizes), outputs=count, axis=axis)


def _stack(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    return stack(graph, inputs, int(equation.params["axis"]))


def _pad(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    low, high, between = zip(*equation.params["padding_config"], strict=True)
    if any(between):
        raise unknown("padding between elements")
    return graph.add("Pad", inputs[0], numbers([*low, *high]), inputs[1])


def _reduction(name: str) -> Operator:
    def operator(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
        value, axes = inputs[0], numbers(equation.params["axes"])
        if not _is_bool(equation.outvars[0]):
            return graph.add(name, value, axes, keepdims=0)
        # Runtimes reduce numbers only.
        as_numbers = cast(graph, value, np.dtype(np.int32))
        reduced = graph.add(name, as_numbers, axes, keepdims=0)
        return cast(graph, reduced, np.dtype(np.bool_))

    return operator


def _is_bool(atom: Atom) -> bool:
    return dtype_of(atom) == np.bool_


def _as_is(
    graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]
) -> Sequence[Value]:
    return inputs


def _dot(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    """Write any sum of products as `Einsum`."""
    summed, batch = equation.params["dimension_numbers"]
    letters = iter(string.ascii_lowercase)
    left = [next(letters) for _ in shape_of(equation.invars[0])]
    right = [next(letters) for _ in shape_of(equation.invars[1])]
    for ours, theirs in (*zip(*summed, strict=True), *zip(*batch, strict=True)):
        right[theirs] = left[ours]
    shared = [left[axis] for axis in batch[0]]
    used = {*shared, *(left[axis] for axis in summed[0])}
    free = [letter for letter in (*left, *right) if letter not in used]
    rule = f"{''.join(left)},{''.join(right)}->{''.join([*shared, *free])}"
    return graph.add("Einsum", *inputs, equation=rule)


def _convolution(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Value:
    params = equation.params
    if params["batch_group_count"] != 1:
        raise unknown("a batch-grouped convolution")
    image_order, kernel_order, out_order = params["dimension_numbers"]
    image = permuted(graph, inputs[0], image_order)  # to [B, C, H, W]
    kernel = permuted(graph, inputs[1], kernel_order)
    low, high = zip(*params["padding"], strict=True)
    if set(params["lhs_dilation"]) == {1}:
        out = graph.add(
            "Conv",
            image,
            kernel,
            strides=list(params["window_strides"]),
            pads=[int(side) for side in (*low, *high)],
            dilations=list(params["rhs_dilation"]),
            group=params["feature_group_count"],
        )
    else:
        out = _transposed_convolution(graph, params, image, kernel)
    return permuted(graph, out, np.argsort(out_order).tolist())


def _transposed_convolution(
    graph: Graph, params: Mapping[str, Any], image: Value, kernel: Value
) -> str:
    """A convolution of an image with zeros between its pixels.

    ONNX has the kernel turned around, and counts padding from the other side.
    """
    ones = {*params["window_strides"], *params["rhs_dilation"]}
    if isinstance(kernel, str) or {*ones, params["feature_group_count"]} != {1}:
        raise unknown("a transposed convolution with steps, dilation or groups")
    sides = kernel.shape[2:]
    low, high = (
        [side - 1 - int(pad) for side, pad in zip(sides, pads, strict=True)]
        for pads in zip(*params["padding"], strict=True)
    )
    if min(*low, *high) < 0:
        raise unknown("a transposed convolution that pads by more than its kernel")
    turned = np.flip(kernel, (2, 3)).swapaxes(0, 1)
    strides = list(params["lhs_dilation"])
    return graph.add(
        "ConvTranspose", image, turned, strides=strides, pads=[*low, *high]
    )


_SAME_MEANING = {
    "abs": "Abs",
    "add": "Add",
    "and": "And",
    "ceil": "Ceil",
    "div": "Div",
    "eq": "Equal",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}
_REDUCTIONS = {
    "reduce_and": "ReduceMin",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_or": "ReduceMax",
    "reduce_prod": "ReduceProd",
    "reduce_sum": "ReduceSum",
}

OPERATORS: Mapping[str, Operator] = {
    **{ours: _elementwise(theirs) for ours, theirs in _SAME_MEANING.items()},
    **{ours: _reduction(theirs) for ours, theirs in _REDUCTIONS.items()},
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _convert_dtype,
    "copy": _as_is,
    "dot_general": _dot,
    "expand_dims": _reshape,
    "max": _max,
    "ne": _elementwise("Equal", "Not"),
    "optimization_barrier": _as_is,
    "pad": _pad,
    "rem": _elementwise("Mod", fmod=1),  # the sign of the dividend, as C has it
    "reshape": _reshape,
    "rsqrt": _elementwise("Sqrt", "Reciprocal"),
    "select_n": _select,
    "integer_pow": lambda graph, equation, inputs: graph.add(
        "Pow", inputs[0], np.asarray(equation.params["y"], dtype_of(equation.invars[0]))
    ),
    "square": lambda graph, _, inputs: graph.add("Mul", inputs[0], inputs[0]),
    "squeeze": _reshape,
    "split": _split,
    "stack": _stack,
    "transpose": _transpose,
}
