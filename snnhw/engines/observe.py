"""Observers that any run can use: predictions, and recording what populations did."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.engines.base import Needs, Record, states
from snnhw.errors import EngineError
from snnhw.mapping.load import Load
from snnhw.network import Array, IntNeuron, Network, Readout
from snnhw.readout import judged, scores, values


def output_needs(network: Network[IntNeuron]) -> Needs:
    """What the readout is read from."""
    name, kind = network.readout.population, network.readout.kind
    return Needs(frozenset({name})) if kind in ("rate", "first") else Needs(state={name: frozenset({"v"})})


def step_output(network: Network[IntNeuron], record: Record, before: Array | None = None) -> Array:
    """Output of the readout population at every sample step, int64 (B, k, ...).

    'rate' and 'first': its spikes; 'membrane': v[t]; 'mean': what its membrane gained in the step, v[t] - v[t-1].

    Args:
        before: v before the first of these steps, (B, ...); v_init if None.
    """
    readout = network.readout
    match readout.kind:
        case "rate" | "first":
            return record.get("spikes", readout.population).astype(np.int64)
        case "mean" | "membrane":
            v = record.get("v", readout.population).astype(np.int64)
            if readout.kind == "membrane":
                return v
            start = network[readout.population].model.v_init if before is None else before
            return np.diff(v, axis=1, prepend=np.broadcast_to(start, (len(v), *v.shape[2:]))[:, None])
        case _:
            where = readout.population
            raise EngineError(
                "bad-readout", f"unknown readout {readout.kind!r}", where=where, limit="rate, first, mean, membrane"
            )


def predict(kind: str, output: Array) -> Array:
    """Predicted classes int64 (samples,) of outputs (samples, T, outputs…); ties go to the lowest class.

    'rate', 'mean' and 'membrane': largest sum over T; 'first': earliest spike, where silence counts as step T.
    """
    readout = Readout(kind, "")
    return judged(readout, scores(readout, output))


class Predictions:
    """Predicted class and scores of every sample."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.network, self.needs = network, output_needs(network)
        self._found: dict[int, Array] = {}
        self.heard = False
        """Whether any output differed from zero."""

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Keep the predictions of one chunk."""
        if population == self.network.readout.population:
            output = step_output(self.network, record)
            self.heard = self.heard or bool(output.any())
            self._found[first_sample] = scores(self.network.readout, output)

    @property
    def scores(self) -> Array:
        """(samples, classes), in the order of the samples."""
        parts = [self._found[first] for first in sorted(self._found)]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.int64)

    @property
    def predictions(self) -> Array:
        """int64 (samples,), in the order of the samples."""
        return judged(self.network.readout, self.scores)


class Busy:
    """How busy every neuron is: what a placement is chosen for."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.network, self._steps, self._samples = network, network.steps, 0
        self.needs = Needs(
            frozenset(p.name for p in network.populations),
            active={p.name: np.zeros(p.size, np.int32) for p in network.computed},
        )
        self._events = {p.name: np.zeros(p.shape) for p in network.populations}
        self._active = dict.fromkeys((p.name for p in network.computed), 0)

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Add up one population of one chunk."""
        spikes = record.get("spikes", population)
        self._events[population] += np.count_nonzero(spikes, axis=(0, 1))
        if population in self._active:
            self._active[population] += int(record.get("active", population).sum())
        if population == self.network.populations[0].name:
            self._samples += len(spikes)

    @property
    def load(self) -> Load:
        """Everything seen so far."""
        origin = f"calibration: spikes of {self._samples} samples"
        return Load(origin, self._samples * self._steps, self._events, self._active)


class Recorder:
    """Arrays of a run, ready for `numpy.savez`; holds all of them in memory.

    Args:
        spikes: record the spikes of every population (inputs: their values).
        state: record the states of every computed population.
    """

    def __init__(self, network: Network[IntNeuron], *, spikes: bool = False, state: bool = False) -> None:
        self.network = network
        whole = Needs.everything(network)
        self.wanted = Needs(whole.spikes if spikes else frozenset(), whole.state if state else {})
        self.needs = self.wanted | output_needs(network)
        self._parts: dict[str, dict[int, Array]] = {}
        self._saturations = 0

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Keep what was asked for of one population of one chunk."""
        self._saturations += sum(record.overflows.values())
        if population == self.network.readout.population:
            self._keep("output", first_sample, step_output(self.network, record))
        if population in self.wanted.spikes:
            spikes = record.get("spikes", population)
            self._keep(f"spikes/{population}", first_sample, _small(spikes, self.network[population].payload))
        for name in states(self.network[population]):
            if name in self.wanted.state.get(population, ()):
                self._keep(f"{name}/{population}", first_sample, record.get(name, population).astype(np.int32))

    def _keep(self, name: str, first_sample: int, values: Array) -> None:
        self._parts.setdefault(name, {})[first_sample] = values

    def arrays(self) -> dict[str, Array]:
        """`output` (samples, T, outputs…), `counts` (its sum over T), `predictions`, and what else was recorded.

        `saturations` says how often u wrapped or v was clipped at 24 bit, over all populations and samples.
        """
        found = {name: np.concatenate([parts[i] for i in sorted(parts)]) for name, parts in self._parts.items()}
        output = found.pop("output")
        said = judged(self.network.readout, scores(self.network.readout, output))
        saturations = np.asarray(self._saturations, np.int64)
        return {
            "output": output,
            "counts": output.sum(axis=1),
            "predictions": said,
            "saturations": saturations,
            **found,
        }


def read_out(network: Network[Any], output: Array) -> dict[str, Array]:
    """What is read of outputs (samples, T, outputs...) beside the predictions.

    `scores` (samples, classes), `scale` (what a unit of them is in the source's), `values` (scores in the source's).
    """
    readout = network.readout
    said = scores(readout, output)
    real = values(readout, said, network[readout.population].size, network.steps)
    return {"scores": said, "scale": np.asarray(readout.scale), "values": real}


def _small(values: Array, payload: tuple[int, int]) -> Array:
    """Plain spikes as uint8, graded ones as int32; always a copy."""
    return values.astype(np.uint8 if payload == (0, 1) else np.int32)
