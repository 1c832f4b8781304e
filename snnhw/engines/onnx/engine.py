"""The `onnx` engine: the step model in onnxruntime, called once a sample step, its state handed on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from snnhw.engines.base import Engine, Log, Needs, Observer, Record, Session, noted, states
from snnhw.engines.onnx.step import METADATA_KEY, counter, initial_state, step_model
from snnhw.errors import EngineError
from snnhw.limits import samples_at_once
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Population

QUIET = 3
"""onnxruntime's log severity: errors only."""


class OnnxEngine(Engine):
    """Layer-synchronous, in a runtime that knows nothing of us; never falls back (docs/onnx.md)."""

    name = "onnx"

    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> OnnxSession:
        """The step model in onnxruntime."""
        return OnnxSession(network, machine, needs)


class OnnxSession(Session):
    """The network's step model; its metadata say what the state is."""

    def __init__(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> None:
        super().__init__(network, machine, needs)
        model = step_model(network, widths=machine.widths, endless=True)
        self.rows = json.loads(model.metadata_props[0].value)["state"]
        assert model.metadata_props[0].key == METADATA_KEY
        self.session = _session(model)
        kept = {f"{part}/{p.name}" for p in network.computed for part in (*states(p), *map(counter, states(p)))}
        kept |= {row["output"] for row in self.rows} | {f"spikes/{p.name}" for p in network.computed if self._fired(p)}
        self.outputs = [value.name for value in self.session.get_outputs() if value.name in kept]
        self.held: dict[str, Array] = {}
        """Everything the last step gave, or what samples start with."""

    def _fired(self, population: Population[IntNeuron]) -> bool:
        """Whether spikes are needed."""
        needs, name = self.needs, population.name
        return population.kind is not Kind.ACCUMULATOR and any(
            name in x for x in (needs.spikes, needs.events, needs.active)
        )

    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        batch, steps = next(iter(given.values())).shape[:2]
        if self.samples is None:
            self._begin(batch)
        logs = {p.name: Log(p, self.needs, (batch, steps)) for p in self.network.computed}
        for t in range(steps):
            values = {f"values/{name}": np.ascontiguousarray(x[:, t], np.int64) for name, x in given.items()}
            state = {row["input"]: np.ascontiguousarray(self.held[row["output"]]) for row in self.rows}
            before, self.held = (
                self.held,
                dict(zip(self.outputs, self.session.run(self.outputs, {**values, **state}), strict=True)),
            )
            for name, log in logs.items():
                now = {state: self.held[f"{state}/{name}"] for state in states(log.population)}
                overflows = {state: self.held[f"{counter(state)}/{name}"] for state in now}
                spikes = np.asarray(self.held.get(f"spikes/{name}", 0))  # accumulators send nothing
                log.add(t, spikes, now, {key: int(n.sum()) for key, n in overflows.items()}, before[f"v/{name}"])
        self.steps += steps
        for p in self.network.populations:
            yield p.name, noted(self.needs, p, given[p.name]) if p.kind is Kind.INPUT else logs[p.name].record()

    def _begin(self, batch: int) -> None:
        self.samples = batch
        self.held = {key: np.zeros((batch, *shape), np.int64) for key, shape in self._layout().items()}
        self.held |= {row["output"]: initial_state(row, batch) for row in self.rows}

    def run(self, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run each chunk in batches of so many samples as their records fit into memory together."""
        per_sample = self.network.steps * sum(p.size for p in self.network.populations)

        def parts() -> Iterator[Mapping[str, Array]]:
            for chunk in chunks:
                samples = len(next(iter(chunk.values())))
                size = samples_at_once(per_sample, max(samples, 1))
                for begin in range(0, max(samples, 1), size):
                    yield {name: values[begin : begin + size] for name, values in chunk.items()}

        super().run(parts(), observers)

    def _save(self) -> Mapping[str, Array]:
        return {key: self.held[key] for key in self._layout()}

    def _load(self, held: Mapping[str, Array]) -> None:
        self.held = dict(held)


def _session(model: Any) -> Any:
    import onnxruntime

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
