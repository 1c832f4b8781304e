"""What an ONNX graph computes from constants alone is computed once, by onnx's own evaluator, within bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from snnhw.errors import SourceError
from snnhw.frontends.onnx.file import DOMAINS, array_of, bad_constant, require_finite, text
from snnhw.frontends.onnx.layers import refuse
from snnhw.network import Array

_SHAPES = {"Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Identity", "Constant", "Reshape", "Transpose"}
"""Operations that give no more than they take, but for Gather."""

_ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sigmoid", "Abs", "Max", "Min", "Clip"),
    *("Where", "Equal", "Greater", "Less", "Not"),
}

_FILLING = {"ConstantOfShape", "Expand"}
"""Operations that give as much as a constant says."""

MOST_VALUES = 1 << 27
"""Values of all constants that are computed."""


class Constants:
    """Constants by name: initializers, and what nodes make of them."""

    def __init__(self, model: Any, file: str) -> None:
        self.file, self.opsets, self.values = file, list(model.opset_import), 0
        self.arrays: dict[str, Array] = {t.name: array_of(t, file) for t in model.graph.initializer}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def take(self, name: str, where: str) -> Array:
        """A constant that a node needs; raises SourceError where it is computed from samples."""
        if name not in self.arrays:
            raise SourceError(
                "not-constant",
                "the ONNX node takes weights or options that are computed, not constant",
                where=where,
                needed=name,
                hint="export the trained network in eval mode",
            )
        return self.arrays[name]

    def compute(self, node: Any, where: str) -> bool:
        """Compute a node if all it takes is constant; False where it is not, or is of a kind that is not computed."""
        given = [name for name in node.input if name]
        if node.domain not in DOMAINS or node.op_type not in _SHAPES | _ELEMENTWISE | _FILLING:
            return False
        if not all(name in self.arrays for name in given):
            return False
        self._require_small(node, given, where)
        feeds = {name: self.arrays[name] for name in given}
        try:
            found = [np.asarray(value) for value in ReferenceEvaluator(self._alone(node)).run(None, feeds)]
        except Exception as error:  # onnx's evaluator raises many kinds
            raise bad_constant(where, error) from error
        if any(value.dtype.kind not in "fiub" for value in found):
            raise refuse(where, f"{node.op_type} of other than numbers")
        for value in found:
            require_finite(value, f"{self.file}: {where}")
        self.arrays |= dict(zip(node.output, found, strict=True))
        return True

    def _alone(self, node: Any) -> Any:
        """A model of one node."""
        ends = [[onnx.ValueInfoProto(name=name) for name in names if name] for names in (node.input, node.output)]
        graph = onnx.helper.make_graph([node], "constant", ends[0], ends[1])
        return onnx.helper.make_model(graph, opset_imports=self.opsets)

    def _require_small(self, node: Any, given: list[str], where: str) -> None:
        """Small tensors can broadcast, or be gathered, to huge ones."""
        shapes = [self.arrays[name].shape for name in given]
        size = sum(math.prod(shape) for shape in shapes)
        if node.op_type in _ELEMENTWISE:
            width = max((len(shape) for shape in shapes), default=0)
            aligned = [(1,) * (width - len(shape)) + shape for shape in shapes]
            size = math.prod(max(sizes) for sizes in zip(*aligned, strict=True))
        if node.op_type == "Gather" and len(shapes) == 2:
            size = math.prod(shapes[0]) * math.prod(shapes[1])
        if node.op_type in _FILLING and given:
            size *= math.prod(max(1, abs(int(n))) for n in self.arrays[given[-1]].ravel()[:64])
        self.values += size
        if self.values > MOST_VALUES:
            raise SourceError(
                "too-big",
                "the constants of the ONNX file are too large to compute",
                where=where,
                needed=f"up to {self.values} values",
                limit=f"{MOST_VALUES} values",
                hint=f"export {text(node.op_type)} of constants already computed",
            )
