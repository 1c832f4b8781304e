"""ReLU classifiers from ONNX files: read node by node into a torch module; nothing in the file is executed.

What torch exports of small classifiers use is read (`onnx_layers.LAYERS`), and the idioms around it: shapes computed
in the graph for a flattening Reshape, biases added after MatMul. All else is refused by the name of the node.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.onnx.constants import Constants
from snnhw.frontends.onnx.file import DOMAINS, node_name, read_model
from snnhw.frontends.onnx.layers import LAYERS, MOST_VALUES, attributes, plus_constant, refuse
from snnhw.network import Array
from snnhw.zoo.wired import INPUT, Names, Wire, Wired

NOTHING = {"Identity", "Dropout"}
"""Operations that change nothing where a network is not trained."""

FREE_BATCH = 2
"""Samples of the trial run where the file leaves the batch open."""

MOST_VALUES_IN_ALL = 1 << 28
"""Values of the trial run, all layers together."""


def load_ann(path: str | Path) -> nn.Module:
    """The classifier of an ONNX file as a torch module on ``[N, ...]``, float32, in eval mode.

    Raises:
        SourceError: the file cannot be read or is not valid, or has a node that is not known, by name.
    """
    path = Path(path)
    model = read_model(path)
    reader = _Reader(model, path.name)
    for index, node in enumerate(model.graph.node):
        reader.visit(node, node_name(node, index))
    return reader.finish()


class _Reader:
    """Values by name: constants as arrays; others as the layer they come from and what it gives in a trial run."""

    def __init__(self, model: Any, file: str) -> None:
        self.file = file
        self.constants = Constants(model, file)
        self.readers: dict[str, int] = {}
        for name in [n for node in model.graph.node for n in node.input] + [o.name for o in model.graph.output]:
            self.readers[name] = self.readers.get(name, 0) + 1
        inputs = [value for value in model.graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise SourceError(
                "inputs-outputs",
                "the ONNX classifier must have one input and one output",
                where=file,
                needed=f"{len(inputs)} inputs, {len(model.graph.output)} outputs",
                limit="one of each",
            )
        self.output = model.graph.output[0].name
        self.wires: dict[str, Wire] = {}
        self.names = Names()
        self.values = 0
        self.source = {inputs[0].name: INPUT}
        self.trial = {INPUT: torch.zeros(input_shape(inputs[0], file))}

    def visit(self, node: Any, where: str) -> None:
        """One node, in the file's order (onnx.checker has made sure that it is a topological one)."""
        if node.domain not in DOMAINS:
            raise refuse(where, f"{node.domain}.{node.op_type}")
        given = [name for name in node.input if name]
        if self.constants.compute(node, where):
            return
        if node.op_type == "Shape":
            options = attributes(node)
            shape = np.array(self._value(given[0], where).shape, np.int64)
            self.constants.arrays[node.output[0]] = shape[options.get("start", 0) : options.get("end")]
        elif node.op_type in NOTHING:
            self._skip(node, where)
        elif node.op_type == "Add" or (node.op_type == "Sum" and len(given) == 2):
            self._add(node, where)
        elif node.op_type in LAYERS:
            self._value(given[0], where)
            held = [self.constants.take(name, where) if name else None for name in node.input[1:]]
            self._place(
                node, self._layer(node, held, self._value(given[0], where), where), (self.source[given[0]],), where
            )
        else:
            raise refuse(where, node.op_type)

    def finish(self) -> nn.Module:
        """The module, once all nodes are read."""
        name = self.source.get(self.output)
        if name is None or name == INPUT or name != next(reversed(self.wires)):
            raise SourceError(
                "inputs-outputs",
                "what the ONNX classifier returns is not what its last layer gives",
                where=f"{self.file}: {self.output}",
                hint="remove what is behind it",
            )
        return Wired(list(self.wires.values())).eval()

    def _layer(self, node: Any, held: list[Array | None], x: Tensor, where: str) -> nn.Module:
        try:
            return LAYERS[node.op_type](attributes(node), held, x, where)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:  # sizes that do not fit
            raise bad_shape(where, error) from None

    def _skip(self, node: Any, where: str) -> None:
        training = len(node.input) > 2 and node.input[2] and bool(self.constants.take(node.input[2], where))
        if training or any(self.readers.get(name) for name in node.output[1:]):
            raise SourceError(
                "unsupported-option", "the Dropout is in training mode", where=where, hint="export in eval mode"
            )
        self._value(node.input[0], where)
        self.source[node.output[0]] = self.source[node.input[0]]

    def _add(self, node: Any, where: str) -> None:
        constants = [name for name in node.input if name in self.constants]
        if not constants:
            parts = [self._value(name, where) for name in node.input]
            if parts[0].shape != parts[1].shape:
                raise SourceError(
                    "bad-shape", "the summands have different shapes", where=where,
                    needed=tuple(parts[0].shape), limit=tuple(parts[1].shape),
                )  # fmt: skip
            self._place(node, None, (self.source[node.input[0]], self.source[node.input[1]]), where)
            return
        other = next((name for name in node.input if name not in self.constants), "")
        value = self._value(other, where)
        wire = self.wires.get(self.source[other])
        if wire is None or self._readers_of(self.source[other]) != 1:
            raise refuse(where, "Add of a constant to something that has no bias")
        layer = plus_constant(wire.layer, self.constants[constants[0]], value, where)
        self.wires[wire.name] = Wire(wire.name, layer, wire.inputs)
        self.trial[wire.name] = self._run(layer, [self.trial[name] for name in wire.inputs], where)
        self.source[node.output[0]] = wire.name

    def _readers_of(self, wire: str) -> int:
        """How many nodes read a wire under any of its names; nodes that only rename it do not count."""
        names = [name for name, source in self.source.items() if source == wire]
        return sum(self.readers[name] for name in names) - (len(names) - 1)

    def _place(self, node: Any, layer: nn.Module | None, inputs: tuple[str, ...], where: str) -> None:
        name = self.names.free(where)
        self.trial[name] = self._run(layer, [self.trial[before] for before in inputs], where)
        self.values += self.trial[name].numel()
        if self.values > MOST_VALUES_IN_ALL:
            raise SourceError(
                "too-big",
                "the ONNX network computes more values than any that is read here",
                where=where,
                needed=f"{self.values} values up to this node",
                limit=f"{MOST_VALUES_IN_ALL} values",
                hint="export it for one sample",
            )
        self.wires[name] = Wire(name, layer, inputs)
        self.source[node.output[0]] = name

    @torch.no_grad()
    def _run(self, layer: nn.Module | None, inputs: list[Tensor], where: str) -> Tensor:
        try:
            out: Tensor = inputs[0] + inputs[1] if layer is None else layer.eval()(inputs[0])
        except (RuntimeError, ValueError, IndexError) as error:
            raise bad_shape(where, error) from None
        return out

    def _value(self, name: str, where: str) -> Tensor:
        if name not in self.source:
            raise refuse(where, "an operation on constants alone")
        return self.trial[self.source[name]]


def bad_shape(where: str, error: Exception) -> SourceError:
    """Sizes that do not fit."""
    return SourceError("bad-shape", f"the ONNX node does not take its input: {error}", where=where)


def input_shape(value: Any, file: str) -> tuple[int, ...]:
    """The shape of an input with its batch; all but the batch must be fixed."""
    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    fixed = len(dims) > 1 and dims[0] >= 0 and all(size > 0 for size in dims[1:])
    if not fixed or kind.elem_type not in floats or math.prod(dims[1:]) * (dims[0] or FREE_BATCH) > MOST_VALUES:
        raise SourceError(
            "bad-shape",
            "an input of the ONNX network must be floats (batch, ...) of a fixed shape",
            where=f"{file}: {value.name}",
            needed=tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim),
            limit=f"numbers after the first dimension, at most {MOST_VALUES} values",
            hint="export it with dynamic_axes for the batch alone",
        )
    return (dims[0] or FREE_BATCH, *dims[1:])
