"""An ONNX graph under construction: values are names, constants are stored once, every node has a telling name."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from snnhw.network import Array

Value = str
"""Name of a value inside the graph."""

Dim = int | str
"""A size, or the name of one that is left open."""


class Graph:
    """Nodes in order of execution, and what they read and give."""

    def __init__(self, scope: str = "") -> None:
        self.scope = scope
        self.nodes: list[Any] = []
        self.constants: dict[Any, tuple[Value, Any]] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._taken: Counter[str] = Counter()

    def input(self, name: Value, dtype: Any, shape: tuple[Dim, ...]) -> Value:
        """Something given from outside."""
        self.inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: Value, value: Value, dtype: Any, shape: tuple[Dim, ...]) -> None:
        """Something handed out, under a name of its own."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=self._free(f"{name}/out")))
        self.outputs.append(_value_info(name, dtype, shape))

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> Value:
        """One node with one output, and the name of that."""
        name = self._free(f"{self.scope}/{kind}")
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def int64(self, values: int | Array) -> Value:
        """An int64 constant."""
        return self.constant(np.asarray(values, np.int64))

    def constant(self, array: Array) -> Value:
        """A constant, stored once however often it is used."""
        array = np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self.constants:
            name = self._free("constant")
            self.constants[key] = (name, numpy_helper.from_array(array, name))
        return self.constants[key][0]

    def weight(self, name: str, array: Array) -> Value:
        """A named constant, stored once, in the smallest integer type that holds it."""
        if name not in self.constants:
            free = self._free(f"weight/{name}")
            self.constants[name] = (free, numpy_helper.from_array(np.ascontiguousarray(_small(array)), free))
        return self.constants[name][0]

    @property
    def held(self) -> int:
        """Bytes of all constants."""
        return sum(len(tensor.raw_data) for _, tensor in self.constants.values())

    def model(self, opset: int, ir_version: int, name: str, metadata: dict[str, str]) -> Any:
        """The finished ModelProto."""
        tensors = [tensor for _, tensor in self.constants.values()]
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, tensors)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="snnhw")
        helper.set_model_props(model, metadata)
        return model

    def _free(self, name: str) -> str:
        self._taken[name] += 1
        count = self._taken[name]
        return name if count == 1 else f"{name}.{count}"


def _value_info(name: str, dtype: Any, shape: tuple[Dim, ...]) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _small(array: Array) -> Array:
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    fits = (kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return array.astype(next(fits, np.int64))


def dtype_code(dtype: Any) -> int:
    """numpy's type as ONNX numbers it."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


INT64 = dtype_code(np.int64)
