"""Functions of JAX as ONNX models.

JAX traces a function to equations (a jaxpr); each becomes a few nodes of ONNX. Arrays
that no input reaches, such as folded batch norms, are computed once and stored.

jax2onnx 0.17.1 was tried: it asks for an Orbax older than this project's, and stops at
the resizing inside HRNet.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from jaxtyping import Array, ArrayLike

import logocap_jax
from logocap_jax.export.to_onnx import indexing, operators
from logocap_jax.export.to_onnx.graph import Atom, Graph, Value, dtype_of, unknown

_OPERATORS = {**operators.OPERATORS, **indexing.OPERATORS}
# Equations that only wrap others, and the parameter with those.
_WRAPPERS = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def to_onnx(
    function: Callable[[Array], dict[str, Array]],
    image: jax.ShapeDtypeStruct,
) -> onnx.ModelProto:
    """Convert a function of one array; captured arrays are stored in the model.

    It returns arrays by name. Shape and dtype of `image`, the name of the array in the
    model, are fixed there.

    Raises:
      ValueError: a step of the function has no counterpart here.
    """
    closed, outputs = jax.make_jaxpr(function, return_shape=True)(image)
    graph = Graph()
    values = _convert(graph, closed.jaxpr, closed.consts, ["image"])
    named = zip(sorted(outputs), values, strict=True)  # JAX sorts a dict by its keys
    return graph.model(
        {"image": image},
        {key: (value, outputs[key]) for key, value in named},
        producer=("logocap_jax", logocap_jax.__version__),
    )


def _convert(
    graph: Graph,
    jaxpr: Jaxpr,
    constants: Sequence[ArrayLike],
    arguments: Sequence[Value],
) -> list[Value]:
    values = dict(zip(jaxpr.invars, arguments, strict=True))
    for variable, constant in zip(jaxpr.constvars, constants, strict=True):
        values[variable] = np.asarray(constant)

    def read(atom: Atom) -> Value:
        if isinstance(atom, Literal):
            return np.asarray(atom.val, dtype_of(atom))
        return values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        outputs = _convert_equation(graph, equation, inputs)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _convert_equation(
    graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]
) -> Sequence[Value]:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(graph, equation, inputs)
    if name == "unstack":
        return _unstack(graph, equation, inputs)
    if name in _WRAPPERS:
        inner = params[_WRAPPERS[name]]
        return _convert(graph, inner.jaxpr, inner.consts, inputs)
    if name == "platform_index":  # the branch of all platforms without one of their own
        return [np.asarray(params["platforms"].index(None), np.int32)]
    if name == "cond" and not isinstance(inputs[0], str):
        branch = params["branches"][int(inputs[0])]
        return _convert(graph, branch.jaxpr, branch.consts, inputs[1:])
    if not any(isinstance(value, str) for value in inputs):
        results = equation.primitive.bind(*inputs, **params)
        several = equation.primitive.multiple_results
        return [np.asarray(array) for array in (results if several else [results])]
    if name not in _OPERATORS:
        raise unknown(f"the operation {name!r}")
    results = _OPERATORS[name](graph, equation, inputs)
    return [results] if isinstance(results, str | np.ndarray) else results


def _scan(graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]) -> Sequence[Value]:
    """A loop of fixed length, written out."""
    params = equation.params
    constants, carried, sequences = _parts(params, inputs)
    num_carried = len(carried)
    turns = range(params["length"])
    collected = []
    for turn in reversed(turns) if params["reverse"] else turns:
        given = [operators.row(graph, sequence, turn) for sequence in sequences]
        body = params["jaxpr"]
        arguments = [*constants, *carried, *given]
        results = _convert(graph, body.jaxpr, body.consts, arguments)
        carried = results[:num_carried]
        collected.append(results[num_carried:])
    if params["reverse"]:
        collected.reverse()
    columns = zip(*collected, strict=True)
    return [*carried, *(operators.stack(graph, items, 0) for items in columns)]


def _unstack(
    graph: Graph, equation: JaxprEqn, inputs: Sequence[Value]
) -> Sequence[Value]:
    """All rows of an axis; JAX before 0.12 has slices for it."""
    axis = equation.params["axis"]
    rows = range(len(equation.outvars))
    return [operators.row(graph, inputs[0], index, axis) for index in rows]


def _parts(params: dict[str, Any], inputs: Sequence[Value]) -> list[list[Value]]:
    """The constants of a loop, what it carries, and the sequences it goes through."""
    if "ft_in" in params:  # since JAX 0.12
        return [list(part) for part in params["ft_in"].update(inputs).unpack()]
    first = params["num_consts"]
    last = first + params["num_carry"]
    return [list(inputs[:first]), list(inputs[first:last]), list(inputs[last:])]
