"""ONNX models changed at random in one to three places: operators, wires, attributes, weights, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from snnhw.frontends.onnx.layers import LAYERS
from snnhw.frontends.onnx.step import OPERATIONS

OPS = sorted(
    {*OPERATIONS, *LAYERS, "Shape", "Concat", "Gather", "Expand", "ConstantOfShape", "Sqrt", "Slice", "Transpose"}
)
INTEGERS = [0, -1, 1, 2, 3, 7, 1 << 20, 1 << 40, -(1 << 33)]
FLOATS = [0.0, -1.0, float("nan"), float("inf"), 1e30]


def mutant(model: Any, seed: int) -> Any:
    """A changed copy."""
    rng = np.random.default_rng(seed)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for _ in range(int(rng.integers(1, 4))):
        _CHANGES[int(rng.integers(len(_CHANGES)))](changed.graph, rng)
    return changed


def _any(rng: np.random.Generator, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def _values(graph: Any) -> list[str]:
    made = [name for node in graph.node for name in node.output]
    return [*(t.name for t in graph.initializer), *made, *(i.name for i in graph.input)]


def _operator(graph: Any, rng: np.random.Generator) -> None:
    _any(rng, graph.node).op_type = _any(rng, OPS)


def _wire(graph: Any, rng: np.random.Generator) -> None:
    node = _any(rng, graph.node)
    if len(node.input):
        node.input[int(rng.integers(len(node.input)))] = _any(rng, _values(graph))


def _one_more(graph: Any, rng: np.random.Generator) -> None:
    _any(rng, graph.node).input.append(_any(rng, _values(graph)))


def _one_less(graph: Any, rng: np.random.Generator) -> None:
    del graph.node[int(rng.integers(len(graph.node)))]


def _attribute(graph: Any, rng: np.random.Generator) -> None:
    node = _any(rng, graph.node)
    if not len(node.attribute):
        return
    attribute = _any(rng, node.attribute)
    if attribute.type == onnx.AttributeProto.INTS and len(attribute.ints):
        attribute.ints[int(rng.integers(len(attribute.ints)))] = _any(rng, INTEGERS)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = _any(rng, INTEGERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = _any(rng, FLOATS)


def _weights(graph: Any, rng: np.random.Generator) -> None:
    if len(graph.initializer):
        tensor = _any(rng, graph.initializer)
        old = numpy_helper.to_array(tensor)
        new = _any(rng, [old.reshape(-1), 0 * old, -old, old[..., None]])
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(new, old.dtype), tensor.name))


def _shape(graph: Any, rng: np.random.Generator) -> None:
    dims = _any(rng, graph.input).type.tensor_type.shape.dim
    if len(dims):
        _any(rng, dims).dim_value = _any(rng, [0, 1, 2, 5, 1000, 1 << 24])


_CHANGES = (_operator, _wire, _one_more, _one_less, _attribute, _weights, _shape)
