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
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.onnx_layers import LAYERS, attributes, plus_constant, refuse
from snnhw.limits import require_small
from snnhw.network import Array
from snnhw.zoo.wired import INPUT, Names, Wire, Wired

_SHAPES = {"Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Identity", "Constant"}
"""Operations that are computed at once where all they take is constant."""
_NOTHING = {"Identity", "Dropout"}
FREE_BATCH = 2
"""Samples of the trial run where the file leaves the batch open."""
MOST_VALUES = 1 << 26
"""Values of an input, batch included: more is taken for a damaged file."""


def load_ann(path: str | Path) -> nn.Module:
    """The classifier of an ONNX file as a torch module on ``[N, ...]``, float32, in eval mode.

    Raises:
        SourceError: the file cannot be read or is not valid, or has a node that is not known, by name.
    """
    path = Path(path)
    model = _read(path)
    reader = _Reader(model, path.name)
    for index, node in enumerate(model.graph.node):
        reader.visit(node, _text(node.name) or f"{_text(node.op_type)}_{index}")
    return reader.finish()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SourceError("no-such-file", "there is no such ONNX file", where=str(path))
    require_small(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise _bad(path, f"{type(error).__name__}: {error}") from None
    held = [a.t for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in [*model.graph.initializer, *held]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise SourceError(
                "external-data",
                "the ONNX file keeps weights in other files, which are not read",
                where=f"{path.name}: {tensor.name}",
                hint="save it in one piece: onnx.save(model, path, save_as_external_data=False)",
            )
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        raise _bad(path, str(error).strip().split("\n")[0]) from None
    return model


def _bad(path: Path, found: str) -> SourceError:
    return SourceError(
        "bad-onnx",
        "the file is not a valid ONNX model",
        where=path.name,
        needed=found,
        limit="what onnx.checker accepts",
        hint="export it again",
    )


class _Reader:
    """Values by name: constants as arrays; others as the layer they come from and what it gives in a trial run."""

    def __init__(self, model: Any, file: str) -> None:
        self.file, self.opsets = file, list(model.opset_import)
        self.constants: dict[str, Array] = {t.name: _array(t, file) for t in model.graph.initializer}
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
        self.source = {inputs[0].name: INPUT}
        self.trial = {INPUT: torch.zeros(_shape(inputs[0], file))}

    def visit(self, node: Any, where: str) -> None:
        """One node, in the file's order (onnx.checker has made sure that it is a topological one)."""
        if node.domain not in ("", "ai.onnx"):
            raise refuse(where, f"{node.domain}.{node.op_type}")
        given = [name for name in node.input if name]
        if node.op_type in _SHAPES and all(name in self.constants for name in given):
            self._compute(node, where)
        elif node.op_type == "Shape":
            options = attributes(node)
            shape = np.array(self._value(given[0], where).shape, np.int64)
            self.constants[node.output[0]] = shape[options.get("start", 0) : options.get("end")]
        elif node.op_type in _NOTHING:
            self._skip(node, where)
        elif node.op_type == "Add":
            self._add(node, where)
        elif node.op_type in LAYERS:
            self._value(given[0], where)
            held = [self._constant(name, where) if name else None for name in node.input[1:]]
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
            raise _bad_shape(where, error) from None

    def _compute(self, node: Any, where: str) -> None:
        model = onnx.helper.make_model(
            onnx.helper.make_graph(
                [node],
                "constant",
                [onnx.ValueInfoProto(name=name) for name in node.input if name],
                [onnx.ValueInfoProto(name=name) for name in node.output],
            ),
            opset_imports=self.opsets,
        )
        feeds = {name: self.constants[name] for name in node.input if name}
        try:
            found = [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]
        except Exception as error:  # onnx's evaluator raises many kinds
            raise _bad_constant(where, error) from error
        if any(value.dtype.kind not in "fiub" for value in found):
            raise refuse(where, f"{node.op_type} of other than numbers")
        self.constants |= dict(zip(node.output, found, strict=True))

    def _skip(self, node: Any, where: str) -> None:
        training = len(node.input) > 2 and node.input[2] and bool(self._constant(node.input[2], where))
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
        self.wires[name] = Wire(name, layer, inputs)
        self.source[node.output[0]] = name

    @torch.no_grad()
    def _run(self, layer: nn.Module | None, inputs: list[Tensor], where: str) -> Tensor:
        try:
            out: Tensor = inputs[0] + inputs[1] if layer is None else layer.eval()(inputs[0])
        except (RuntimeError, ValueError, IndexError) as error:
            raise _bad_shape(where, error) from None
        return out

    def _value(self, name: str, where: str) -> Tensor:
        if name not in self.source:
            raise refuse(where, "an operation on constants alone")
        return self.trial[self.source[name]]

    def _constant(self, name: str, where: str) -> Array:
        if name not in self.constants:
            raise SourceError(
                "not-constant",
                "the ONNX node takes weights or options that are computed, not constant",
                where=where,
                needed=name,
                hint="export the trained network in eval mode",
            )
        return self.constants[name]


def _text(name: str | bytes) -> str:
    """A name in the file; protobuf gives bytes where it is not UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _array(tensor: Any, file: str) -> Array:
    try:
        return numpy_helper.to_array(tensor)
    except (KeyError, ValueError, TypeError) as error:  # an unknown data type, a wrong number of bytes
        raise _bad_constant(f"{file}: {_text(tensor.name)}", error) from None


def _bad_constant(where: str, error: Exception) -> SourceError:
    return SourceError(
        "bad-onnx",
        f"a constant of the ONNX file cannot be computed: {error}",
        where=where,
        hint="export it again",
    )


def _bad_shape(where: str, error: Exception) -> SourceError:
    return SourceError("bad-shape", f"the ONNX node does not take its input: {error}", where=where)


def _shape(value: Any, file: str) -> tuple[int, ...]:
    """The input's shape with batch; all but the batch must be fixed."""
    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    fixed = len(dims) > 1 and dims[0] >= 0 and all(size > 0 for size in dims[1:])
    if not fixed or kind.elem_type not in floats or math.prod(dims[1:]) * (dims[0] or FREE_BATCH) > MOST_VALUES:
        raise SourceError(
            "bad-shape",
            "the input of the ONNX classifier must be floats (batch, ...) of a fixed shape",
            where=f"{file}: {value.name}",
            needed=tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim),
            limit=f"numbers after the first dimension, at most {MOST_VALUES} values",
            hint="export it with dynamic_axes for the batch alone",
        )
    return (dims[0] or FREE_BATCH, *dims[1:])
