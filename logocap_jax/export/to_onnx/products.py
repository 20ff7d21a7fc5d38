"""What becomes of JAX's sums over products: matrices and convolutions."""

import string
from collections.abc import Mapping, Sequence

import numpy as np
from jax.extend.core import JaxprEqn

from logocap_jax.export.to_onnx.graph import Graph, Value, shape_of, unknown
from logocap_jax.export.to_onnx.operators import Operator, permuted


def _dot(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> str:
    """Each sum over products is a rule of Einstein's."""
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
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise unknown("a transposed or batch-grouped convolution")
    image_order, kernel_order, out_order = params["dimension_numbers"]
    low, high = zip(*params["padding"], strict=True)
    out = graph.add(
        "Conv",
        permuted(graph, inputs[0], image_order),  # to [B, C, H, W]
        permuted(graph, inputs[1], kernel_order),
        strides=list(params["window_strides"]),
        pads=[int(side) for side in (*low, *high)],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return permuted(graph, out, np.argsort(out_order).tolist())


OPERATORS: Mapping[str, Operator] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot,
}
