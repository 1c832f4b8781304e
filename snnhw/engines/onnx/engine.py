"""The `onnx` engine: the step model in onnxruntime, called once a sample step, state handed from call to call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.artifact import Artifact
from snnhw.engines.base import Observer, Record
from snnhw.engines.onnx.step import METADATA_KEY, initial_state, step_model
from snnhw.errors import EngineError
from snnhw.limits import samples_at_once
from snnhw.network import Array, IntNeuron, Kind, Network

QUIET = 3
"""onnxruntime's log severity: errors only."""


class OnnxEngine:
    """Layer-synchronous, in a runtime that knows nothing of us; never falls back (docs/onnx.md)."""

    name = "onnx"

    def run(self, artifact: Artifact, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run each chunk in batches of so many samples as their records fit into memory together."""
        network = artifact.network
        step = Step(network, artifact.target.widths)
        first = 0
        for chunk in chunks:
            samples = len(next(iter(chunk.values())))
            size = samples_at_once(network.steps * sum(p.size for p in network.populations), max(samples, 1))
            for begin in range(0, samples, size):
                batch = {name: values[begin : begin + size] for name, values in chunk.items()}
                for name, record in step.records(batch).items():
                    for observer in observers:
                        observer.observe(first, name, record)
                first += len(next(iter(batch.values())))


class Step:
    """A session of the network's step model, and what its metadata says of the state."""

    def __init__(self, network: Network[IntNeuron], widths: fixed.Widths = fixed.LOIHI) -> None:
        self.network = network
        model = step_model(network, widths=widths)
        self.state = json.loads(model.metadata_props[0].value)["state"]
        assert model.metadata_props[0].key == METADATA_KEY
        self.session = _session(model)
        self.outputs = [value.name for value in self.session.get_outputs()]

    def records(self, chunk: Mapping[str, Array]) -> dict[str, Record]:
        """What every population did for one batch of samples, in the network's order."""
        samples, steps = len(next(iter(chunk.values()))), self.network.steps
        state = {row["input"]: np.ascontiguousarray(initial_state(row, samples)) for row in self.state}
        records = {p.name: self._blank(p.name, samples) for p in self.network.computed}
        counters = dict.fromkeys((name for name in self.outputs if name.startswith(("wraps/", "clips/"))), 0)
        for t in range(steps):
            values = {
                f"values/{p.name}": np.ascontiguousarray(chunk[p.name][:, t], np.int64) for p in self.network.inputs
            }
            found = dict(zip(self.outputs, self.session.run(None, {**values, **state}), strict=True))
            state = {row["input"]: found[row["output"]] for row in self.state}
            for name, kept in records.items():
                for part, array in kept.items():
                    array[:, t] = found.get(f"{part}/{name}", 0)  # accumulators send nothing
            for name in counters:
                counters[name] += int(found[name].sum())
        return {
            p.name: Record(np.asarray(chunk[p.name]))
            if p.kind is Kind.INPUT
            else Record(**records[p.name], wraps=counters[f"wraps/{p.name}"], clips=counters[f"clips/{p.name}"])
            for p in self.network.populations
        }

    def _blank(self, name: str, samples: int) -> dict[str, Array]:
        population = self.network[name]
        shape = (samples, self.network.steps, *population.shape)
        plain = population.kind is Kind.ACCUMULATOR or population.model.max_spikes == 1
        return {
            "spikes": np.zeros(shape, np.int8 if plain else np.int32),
            "u": np.zeros(shape, np.int32),
            "v": np.zeros(shape, np.int32),
        }


def _session(model: Any) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            "onnxruntime-missing",
            f"the onnx engine needs onnxruntime: {error}",
            hint="pip install 'onnxruntime>=1.20,<2', or use --engine fast",
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors and protobuf's share no class
        raise EngineError(
            "onnx-failed", f"onnxruntime refuses the network: {error}", hint="use --engine fast"
        ) from None
