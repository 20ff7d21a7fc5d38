"""An ONNX graph that grows node by node."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import onnx
from jax.extend.core import Literal, Var
from onnx import helper, numpy_helper

# Of 2023: old enough for every runtime in use, new enough for reductions over axes that
# are inputs.
OPSET = 18

# A value known when the graph is built, or the name of a computed one.
Value: TypeAlias = np.ndarray | str
# An input or output of an equation of JAX.
Atom: TypeAlias = Var | Literal


class Graph:
    """Nodes and stored arrays of an ONNX graph."""

    def __init__(self) -> None:
        """Start empty."""
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self._count = 0

    def add(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node with one output; returns its name."""
        return self.add_many(operator, *inputs, outputs=1, **attributes)[0]

    def add_many(
        self, operator: str, *inputs: Value, outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs; returns their names."""
        names = [self._new_name(operator) for _ in range(outputs)]
        taken = [self.name(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, taken, names, **attributes))
        return names

    def name(self, value: Value) -> str:
        """Name of a value; an array is stored, once for all its users."""
        if isinstance(value, str):
            return value
        array = np.asarray(value, order="C")
        key = (array.dtype.str, array.shape, hashlib.sha256(array.data).digest())
        if key not in self._stored:
            name = self._new_name("stored")
            self._stored[key] = numpy_helper.from_array(array, name)
        return self._stored[key].name

    def model(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, tuple[Value, Any]],
        *,
        producer: tuple[str, str],
    ) -> onnx.ModelProto:
        """Finish the graph.

        Args:
          inputs: by name; anything with `shape` and `dtype`.
          outputs: by name; each with its shape and dtype.
          producer: name and version of the program.
        """
        for name, (value, _) in outputs.items():
            node = helper.make_node("Identity", [self.name(value)], [name])
            self._nodes.append(node)
        graph = helper.make_graph(
            self._nodes,
            producer[0],
            [_described(name, array) for name, array in inputs.items()],
            [_described(name, array) for name, (_, array) in outputs.items()],
            list(self._stored.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name=producer[0],
            producer_version=producer[1],
        )
        onnx.checker.check_model(model)
        return model

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def shape_of(atom: Atom) -> tuple[int, ...]:
    """Shape of an input or output of an equation."""
    aval: Any = atom.aval
    return tuple(map(int, aval.shape))


def dtype_of(atom: Atom) -> np.dtype:
    """Dtype of an input or output of an equation."""
    aval: Any = atom.aval
    return np.dtype(aval.dtype)


def unknown(what: str) -> ValueError:
    """The error for an operation of JAX without a counterpart here."""
    return ValueError(
        f"got {what}, which the ONNX export does not know; export StableHLO, or dense "
        "maps only"
    )


def numbers(values: Sequence[SupportsIndex]) -> np.ndarray:
    """Integers as int64, ONNX's dtype of shapes and axes."""
    return np.array(values, np.int64)


def _described(name: str, array: Any) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))
    return helper.make_tensor_value_info(name, dtype, array.shape)
