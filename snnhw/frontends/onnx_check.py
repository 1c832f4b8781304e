"""The step of an ONNX file, run by onnx's own evaluator in float64, against the NIR graph that was read from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from snnhw.errors import SourceError
from snnhw.frontends.check import Check, compared, require_equal
from snnhw.frontends.simulate import walk
from snnhw.frontends.source import Source
from snnhw.network import Array

CHECK_SAMPLES, CHECK_STEPS = 2, 8


@dataclass(frozen=True)
class Steps:
    """An ONNX step that can be called for whole samples.

    Args:
        model: the ModelProto.
        data: name of the input.
        shapes: of all inputs, batch included.
        states: state input -> the output that is its new value.
        shown: name in the NIR graph -> name of the ONNX value, of spikes and outputs.
        inverted: names whose ONNX value is 1 where there is no spike.
    """

    model: Any
    data: str
    shapes: Mapping[str, tuple[int, ...]]
    states: Mapping[str, str]
    shown: Mapping[str, str]
    inverted: frozenset[str] = frozenset()

    def run(self, x: Array) -> dict[str, Array]:
        """Spikes and outputs (B, T, ...) by name, of input (B, T, ...); a fixed batch is run in parts of its size."""
        size = self.shapes[self.data][0]
        parts = [self._batch(x[first : first + size]) for first in range(0, len(x), size)]
        return {name: np.concatenate([part[name] for part in parts])[: len(x)] for name in self.shown}

    def _batch(self, x: Array) -> dict[str, Array]:
        size = self.shapes[self.data][0]
        x = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]))])
        evaluator = ReferenceEvaluator(self._model)
        names = [*self.states.values(), *self.shown.values()]
        state = {name: np.zeros(self.shapes[name]) for name in self.states}
        kept: dict[str, list[Array]] = {name: [] for name in self.shown}
        for t in range(x.shape[1]):
            found = dict(zip(names, evaluator.run(names, {self.data: x[:, t], **state}), strict=True))
            state = {name: np.asarray(found[new], np.float64) for name, new in self.states.items()}
            for name, value in self.shown.items():
                values = np.asarray(found[value], np.float64)
                kept[name].append(1.0 - values if name in self.inverted else values)
        return {name: np.stack(values, axis=1) for name, values in kept.items()}

    @property
    def _model(self) -> Any:
        """The model in float64, with all that is shown among its outputs."""
        model = copy.deepcopy(self.model)
        graph = model.graph
        tensors = [a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        for tensor in [*graph.initializer, *tensors]:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                    attribute.i = onnx.TensorProto.DOUBLE
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        have = {value.name for value in graph.output}
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in set(self.shown.values()) - have)
        return model


def verify(steps: Steps, source: Source, seeds: Sequence[int] = (0, 1)) -> Check:
    """Both on random input; refused only if they differ for every seed (a membrane may meet its threshold).

    Raises:
        LoweringError: with the first node, sample, step and neuron that differ.
        SourceError: onnx's evaluator cannot run the file.
    """
    found = None
    for seed in seeds:
        rng = np.random.default_rng(seed)
        size = (CHECK_SAMPLES, min(source.deployment.steps, CHECK_STEPS), *source.deployment.input_shape)
        x = rng.random(size) * (rng.random(size) < 0.5)
        try:
            want = steps.run(x)
        except Exception as error:  # onnx's evaluator raises many kinds
            raise SourceError(
                "bad-onnx",
                f"the ONNX step cannot be run: {type(error).__name__}: {error}",
                where=str(source.origin["file"]),
                hint="export it again",
            ) from error
        found = compared("ONNX step = NIR", want, walk(source.graph, source.semantics, x))
        if not found.different:
            break
    assert found is not None
    return require_equal(found)
