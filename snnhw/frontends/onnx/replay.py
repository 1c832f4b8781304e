"""The step of an ONNX file as it is, run in onnxruntime: what the NIR graph read from it is checked against."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from snnhw.errors import SourceError
from snnhw.network import Array

SAMPLES, STEPS = 2, 8
"""Of the random input on which an import is checked."""

QUIET = 3
"""onnxruntime's log severity: errors only."""


@dataclass(frozen=True)
class StepReplay:
    """An ONNX step that is called once a sample step, its state handed on.

    Args:
        model: the ModelProto.
        data: name of the input.
        shapes: of all inputs, batch included.
        states: state input -> the output that is its new value.
        shown: name in the NIR graph -> name of the ONNX value, of spikes and outputs.
        inverted: names whose ONNX value is 1 where there is no spike.
        steps: T.
    """

    model: Any
    data: str
    shapes: Mapping[str, tuple[int, ...]]
    states: Mapping[str, str]
    shown: Mapping[str, str]
    inverted: frozenset[str]
    steps: int

    @property
    def example(self) -> Array:
        """Random input, half of it zero."""
        rng = np.random.default_rng(0)
        size = (SAMPLES, min(self.steps, STEPS), *self.shapes[self.data][1:])
        return np.asarray(rng.random(size) * (rng.random(size) < 0.5))

    def like(self, x: Array) -> Array:
        """Samples as it can run them: as they are."""
        return x

    def __call__(self, x: Array) -> dict[str, Array]:
        """Spikes and outputs (B, T, ...) by name, of input (B, T, ...); a fixed batch is run in parts of its size."""
        size = self.shapes[self.data][0]
        try:
            parts = [self._batch(x[first : first + size]) for first in range(0, len(x), size)]
        except Exception as error:  # onnxruntime's errors share no class
            raise SourceError(
                "bad-onnx",
                f"the ONNX step cannot be run: {type(error).__name__}: {error}",
                where=self.data,
                hint="export it again",
            ) from error
        return {name: np.concatenate([part[name] for part in parts])[: len(x)] for name in self.shown}

    def _batch(self, x: Array) -> dict[str, Array]:
        x = np.concatenate([x, np.zeros((self.shapes[self.data][0] - len(x), *x.shape[1:]))])
        names = sorted({*self.states.values(), *self.shown.values()})
        state = {name: np.zeros(self.shapes[name], kind) for name, kind in self._kinds.items() if name != self.data}
        kept: dict[str, list[Array]] = {name: [] for name in self.shown}
        for t in range(x.shape[1]):
            given = {self.data: np.ascontiguousarray(x[:, t], self._kinds[self.data]), **state}
            found = dict(zip(names, self._session.run(names, given), strict=True))
            state = {name: found[new] for name, new in self.states.items()}
            for name, value in self.shown.items():
                values = np.asarray(found[value], np.float64)
                kept[name].append(1.0 - values if name in self.inverted else values)
        return {name: np.stack(values, axis=1) for name, values in kept.items()}

    @cached_property
    def _kinds(self) -> dict[str, Any]:
        """The inputs' number types."""
        types = {value.name: value.type.tensor_type.elem_type for value in self.model.graph.input}
        return {name: onnx.helper.tensor_dtype_to_np_dtype(types[name]) for name in (self.data, *self.states)}

    @cached_property
    def _session(self) -> Any:
        """A session that gives all that is shown; exporters may name an output twice, onnxruntime may not."""
        import onnxruntime

        model = copy.deepcopy(self.model)
        known = {value.name: value for value in model.graph.output}
        added = [onnx.ValueInfoProto(name=name) for name in sorted({*self.shown.values()} - set(known))]
        del model.graph.output[:]
        model.graph.output.extend([*known.values(), *added])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
