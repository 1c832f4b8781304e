"""Observers that any run can use: predictions, and recording what populations did."""

from __future__ import annotations

from math import prod

import numpy as np

from snnhw.engines.base import Record
from snnhw.errors import EngineError
from snnhw.network import Array, IntNeuron, Kind, Network


def step_output(network: Network[IntNeuron], record: Record) -> Array:
    """Output of the readout population at every sample step, int64 (B, T, ...).

    'rate' and 'first': its spikes; 'membrane': v[t]; 'mean': what its membrane gained in the step, v[t] - v[t-1] with
    v[-1] = v_init.
    """
    readout = network.readout
    match readout.kind:
        case "rate" | "first":
            return record.spikes.astype(np.int64)
        case "mean" | "membrane":
            if record.v is None:
                raise EngineError("no-state", "the engine gave no v, the readout's value", where=readout.population)
            v = record.v.astype(np.int64)
            if readout.kind == "membrane":
                return v
            return np.diff(v, axis=1, prepend=np.full_like(v[:, :1], network[readout.population].model.v_init))
        case _:
            where = readout.population
            raise EngineError(
                "bad-readout", f"unknown readout {readout.kind!r}", where=where, limit="rate, first, mean, membrane"
            )


def predict(kind: str, output: Array) -> Array:
    """Predicted classes int64 (samples,) of outputs (samples, T, outputs…); ties go to the lowest class.

    'rate', 'mean' and 'membrane': largest sum over T; 'first': earliest spike, where silence counts as step T.
    """
    samples, steps, outputs = len(output), output.shape[1], prod(output.shape[2:])
    flat = output.reshape(samples, steps, outputs)
    if kind == "first":
        fired = flat > 0
        times = np.where(fired.any(axis=1), fired.argmax(axis=1), steps)
        return np.asarray(times.argmin(axis=1), np.int64)
    return np.asarray(flat.sum(axis=1).argmax(axis=1), np.int64)


class Predictions:
    """Predicted class of every sample."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.network = network
        self._found: dict[int, Array] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Keep the predictions of one chunk."""
        if population == self.network.readout.population:
            self._found[first_sample] = predict(self.network.readout.kind, step_output(self.network, record))

    @property
    def predictions(self) -> Array:
        """int64 (samples,), in the order of the samples."""
        parts = [self._found[first] for first in sorted(self._found)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class Recorder:
    """Arrays of a run, ready for `numpy.savez`; holds all of them in memory.

    Args:
        spikes: record the spikes of every population (inputs: their values).
        state: record u and v of every computed population.
    """

    def __init__(self, network: Network[IntNeuron], *, spikes: bool = False, state: bool = False) -> None:
        self.network = network
        self.spikes, self.state = spikes, state
        self._parts: dict[str, dict[int, Array]] = {}
        self._saturations = 0

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Keep what was asked for of one population of one chunk."""
        self._saturations += record.wraps + record.clips
        if population == self.network.readout.population:
            self._keep("output", first_sample, step_output(self.network, record))
        if self.spikes:
            self._keep(f"spikes/{population}", first_sample, _small(record.spikes, self.network[population].payload))
        if self.state and self.network[population].kind is not Kind.INPUT:
            for name, values in (("u", record.u), ("v", record.v)):
                if values is None:
                    raise EngineError("no-state", f"the engine gave no {name}", where=population)
                self._keep(f"{name}/{population}", first_sample, values.astype(np.int32))

    def _keep(self, name: str, first_sample: int, values: Array) -> None:
        self._parts.setdefault(name, {})[first_sample] = values

    def arrays(self) -> dict[str, Array]:
        """`output` (samples, T, outputs…), `counts` (its sum over T), `predictions`, and what else was recorded.

        `saturations` says how often u wrapped or v was clipped at 24 bit, over all populations and samples.
        """
        found = {name: np.concatenate([parts[i] for i in sorted(parts)]) for name, parts in self._parts.items()}
        output = found.pop("output")
        said = predict(self.network.readout.kind, output)
        saturations = np.asarray(self._saturations, np.int64)
        return {
            "output": output,
            "counts": output.sum(axis=1),
            "predictions": said,
            "saturations": saturations,
            **found,
        }


def _small(values: Array, payload: tuple[int, int]) -> Array:
    """Plain spikes as uint8, graded ones as int32; always a copy."""
    return values.astype(np.uint8 if payload == (0, 1) else np.int32)
