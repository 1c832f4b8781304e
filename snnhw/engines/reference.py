"""The contract as plainly as possible: chip steps, one after another, one sample behind the other.

This is the engine a reader must trust. It knows nothing of sample steps beyond the start steps of the populations:
each chip step every population reads the spikes that arrive now, updates u and v by `fixed.py`, and fires.
Pipelining, delays, biases that run during the fill and the reset at each start step all happen as on the chip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnhw import fixed
from snnhw.artifact import Artifact
from snnhw.engines.base import Observer, Record
from snnhw.network import Array, IntNeuron, Kind, Network, Population


class ReferenceEngine:
    """Slow and obviously right (docs/design.md §5)."""

    name = "reference"

    def run(self, artifact: Artifact, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run all chunks as one uninterrupted stream of samples on the chip."""
        network = artifact.network
        batches = list(chunks)
        samples = sum(_samples(batch) for batch in batches)
        stream = (
            {p.name: np.concatenate([batch[p.name] for batch in batches]) for p in network.inputs} if batches else {}
        )
        history = simulate(network, stream, samples, artifact.target.widths)
        first = 0
        for size in (_samples(batch) for batch in batches):
            for population in network.populations:
                record = history[population.name].record(population, first, size, network.steps)
                for observer in observers:
                    observer.observe(first, population.name, record)
            first += size


def _samples(batch: Mapping[str, Array]) -> int:
    return len(next(iter(batch.values())))


@dataclass
class History:
    """What one population did at every chip step."""

    spikes: list[Array] = field(default_factory=list)
    u: list[Array] = field(default_factory=list)
    v: list[Array] = field(default_factory=list)
    wraps: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)

    def at(self, step: int) -> Array | None:
        """Spikes emitted at a chip step; nothing was emitted before step 0."""
        return self.spikes[step] if step >= 0 else None

    def record(self, population: Population[IntNeuron], first: int, size: int, steps: int) -> Record:
        """Samples [first, first + size), aligned to sample steps by the population's start step."""
        begin = population.start + first * steps
        window = slice(begin, begin + size * steps)
        shape = (size, steps, *population.shape)
        spikes = np.array(self.spikes[window]).reshape(shape)
        if population.kind is Kind.INPUT:
            return Record(spikes)
        u, v = (np.array(values[window], np.int32).reshape(shape) for values in (self.u, self.v))
        return Record(spikes, u, v, sum(self.wraps[window]), sum(self.clips[window]))


def simulate(
    network: Network[IntNeuron], stream: Mapping[str, Array], samples: int, widths: fixed.Widths = fixed.LOIHI
) -> dict[str, History]:
    """All chip steps of `samples` samples, back to back, until the last population has finished."""
    history = {p.name: History() for p in network.populations}
    state = {p.name: Cells(p, widths) for p in network.computed}
    for step in range(samples * network.steps + network.depth):
        for population in network.inputs:
            sample, at = divmod(step, network.steps)
            values = stream[population.name][sample, at] if sample < samples else np.zeros(population.shape, np.int64)
            history[population.name].spikes.append(np.asarray(values, np.int64))
        for population in network.computed:
            cells = state[population.name]
            if step >= population.start and (step - population.start) % network.steps == 0:
                cells.begin_sample()
            cells.step(arriving(network, population, history, step))
            cells.log(history[population.name])
    return history


def arriving(
    network: Network[IntNeuron], post: Population[IntNeuron], history: Mapping[str, History], step: int
) -> Array:
    """a[t]: the sum over projections of what was sent `delay` steps ago."""
    total = np.zeros(post.shape, np.int64)
    for projection in network.into(post.name):
        sent = history[projection.pre].at(step - projection.delay)
        into_sample = (step - post.start) % network.steps
        if sent is not None and into_sample >= projection.lag:  # else it was sent in the sample before
            arrived = projection.op.apply(network.weights, sent[None], post.shape)[0]
            total = total + fixed.shifted(arrived, projection.weight_exp)
    return total


class Cells:
    """State of one population: u, v and the spikes of the last step."""

    def __init__(self, population: Population[IntNeuron], widths: fixed.Widths = fixed.LOIHI) -> None:
        self.shape = population.shape
        self.neuron = population.model
        self.parameters = fixed.Parameters(*(np.asarray(x, np.int64) for x in self.neuron.parameters))
        self.rule = self.neuron.rule(population.kind is not Kind.ACCUMULATOR, widths)
        self.begin_sample()

    def begin_sample(self) -> None:
        """Start of a sample: u = 0, v = v_init, nothing pending."""
        self.u = np.zeros(self.shape, np.int64)
        self.v = np.full(self.shape, self.neuron.v_init, np.int64)
        self.s = np.zeros(self.shape, np.int64)
        self.wraps = self.clips = 0

    def step(self, a: Array) -> None:
        """One chip step."""
        state, overflowed = fixed.step((self.u, self.v, self.s), a, self.parameters, self.rule)
        self.u, self.v, self.s = (np.asarray(x, np.int64) for x in state)
        self.wraps, self.clips = (int(x.sum()) for x in overflowed)

    def log(self, history: History) -> None:
        """Append this step; v is recorded after reset."""
        history.spikes.append(self.s)
        history.u.append(self.u)
        history.v.append(self.v)
        history.wraps.append(self.wraps)
        history.clips.append(self.clips)
