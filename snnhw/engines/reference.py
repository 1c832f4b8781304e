"""The contract as plainly as possible: chip steps, one after another, one sample behind the other.

This is the engine a reader must trust. It knows nothing of sample steps beyond the start steps of the populations:
each chip step every population reads the spikes that arrive now, updates u and v by `fixed.py`, and fires.
Pipelining, delays, biases that run during the fill and the reset at each start step all happen as on the chip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from snnhw import fixed
from snnhw.engines.base import Engine, Log, Needs, Observer, Record, Session, noted, past, states
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Population


class ReferenceEngine(Engine):
    """Slow and obviously right (docs/design.md, "Engines")."""

    name = "reference"

    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> ReferenceSession:
        """Nothing is prepared."""
        return ReferenceSession(network, machine, needs)


class ReferenceSession(Session):
    """Chips side by side, one for each sample, that all execute chip step after chip step.

    A population executes sample step t in chip step t + its start step: `start` chip steps behind the input. When
    `advance` has fed k inputs, each population therefore runs on to its own chip step, up to which its input is known,
    so that all have finished the same sample steps and all their records are returned. What a later chip step still
    reads (spikes with a lag) is held. `reset` lets the next samples follow in
    the very next chip step, as on the chip, while the last ones are still in the pipeline; `drain` runs the chip
    without input until the last population has finished, and leaves it empty.
    """

    chips = 0

    def _make(self, chips: int, fed: int) -> None:
        """New chips, fed with so many inputs; where that is none they begin with the fill of their pipelines."""
        self.chips, self.fed, self.first = chips, fed, 0
        self.cells = {p.name: Cells(p, self.machine.widths, chips) for p in self.network.computed}
        self.done = {p.name: fed + p.start if fed else 0 for p in self.network.computed}
        self.sent: dict[str, dict[int, Array]] = {p.name: {} for p in self.network.populations}

    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        size = next(iter(given.values())).shape[:2]
        logs = {p.name: Log(p, self.needs, size) for p in self.network.computed}
        self._feed(given, logs)
        yield from self._records(given, logs)

    def _records(self, given: Mapping[str, Array], logs: Mapping[str, Log]) -> Iterator[tuple[str, Record]]:
        for p in self.network.populations:
            yield p.name, noted(self.needs, p, given[p.name]) if p.kind is Kind.INPUT else logs[p.name].record()

    def _feed(self, given: Mapping[str, Array], logs: Mapping[str, Log]) -> None:
        """Some steps of input; samples that begin follow on the same chips if there are as many."""
        batch, steps = next(iter(given.values())).shape[:2]
        if self.samples is None:
            if batch != self.chips:
                self._make(batch, 0)
            self.samples, self.first = batch, self.fed
        for name, values in given.items():
            self.sent[name].update((self.fed + t, np.asarray(values[:, t], np.int64)) for t in range(steps))
        self.fed += steps
        self._execute({p.name: self.fed + p.start for p in self.network.computed}, logs)
        self.steps += steps

    def _execute(self, until: Mapping[str, int], logs: Mapping[str, Log]) -> None:
        """Chip steps in order, of each population up to its own."""
        for step in range(min(self.done.values()), max(until.values())):
            for population in self.network.computed:
                name = population.name
                if self.done[name] != step or step >= until[name]:
                    continue
                cells, into_sample = self.cells[name], step - population.start - self.first
                if into_sample == 0:
                    cells.begin_sample()
                before = cells.state["v"]
                cells.step(self._arriving(population, step, into_sample))
                self.sent[name][step] = cells.s
                self.done[name] = step + 1
                if name in logs and into_sample >= self.steps:
                    logs[name].add(into_sample - self.steps, cells.s, cells.state, cells.overflows, before)
        self._forget()

    def _forget(self) -> None:
        """Spikes that nothing reads any more."""
        for name, sent in self.sent.items():
            late = self.done.get(name, self.fed) - past(self.network, name)
            unread = min([late, *(self.done[q.post] - q.delay for q in self.network.out_of(name))])
            for step in [step for step in sent if step < unread]:
                del sent[step]

    def _arriving(self, post: Population[IntNeuron], step: int, into_sample: int) -> Array:
        """a[t]: the sum over projections of what was sent `delay` steps ago."""
        total = np.zeros((self.chips, *post.shape), np.int64)
        for projection in self.network.into(post.name):
            sent = self.sent[projection.pre].get(step - projection.delay)
            if sent is not None and into_sample >= projection.lag:  # else it was sent in the sample before
                arrived = projection.op.apply(self.network.weights, sent, post.shape)
                total = total + fixed.shifted(arrived, projection.weight_exp)
        return total

    def drain(self) -> None:
        """Chip steps without input until the last population has finished; the next samples come behind them."""
        if self.samples is not None:
            self.fed += self.network.depth
            self._execute({p.name: self.fed for p in self.network.computed}, {})
        self.reset()

    def run(self, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run all chunks as one uninterrupted stream of samples on one chip."""
        first = 0
        for chunk in chunks:
            self.reset()
            given = self._given(chunk)
            samples, steps = next(iter(given.values())).shape[:2]
            logs = {p.name: Log(p, self.needs, (samples, steps)) for p in self.network.computed}
            for i in range(samples):
                self.reset()
                for log in logs.values():
                    log.rows = slice(i, i + 1)
                self._feed({name: values[i : i + 1] for name, values in given.items()}, logs)
            for name, record in self._records(given, logs):
                for observer in observers:
                    observer.observe(first, name, record)
            first += samples

    def _save(self) -> dict[str, Array]:
        held = {f"{name}/{p.name}": self.cells[p.name].state[name] for p in self.network.computed for name in states(p)}
        for p in self.network.populations:
            if depth := past(self.network, p.name):
                done, silent = self.done.get(p.name, self.fed), np.zeros((self.chips, *p.shape), np.int64)
                back = (done - 1 - j for j in range(depth))
                begun = self.first + p.start
                held[f"past/{p.name}"] = np.stack(
                    [self.sent[p.name].get(step, silent) if step >= begun else silent for step in back], axis=1
                )
        return held

    def _load(self, held: Mapping[str, Array]) -> None:
        assert self.samples is not None
        self._make(self.samples, self.steps)
        for p in self.network.populations:
            for j in range(past(self.network, p.name)):
                self.sent[p.name][self.steps + p.start - 1 - j] = held[f"past/{p.name}"][:, j]
        for p in self.network.computed:
            cells = self.cells[p.name]
            cells.state = {name: held[f"{name}/{p.name}"] for name in states(p)}
            cells.s = self.sent[p.name].get(self.steps + p.start - 1, cells.s)


class Cells:
    """One population on some chips side by side: its states by name, and the spikes `s` of the last step."""

    def __init__(self, population: Population[IntNeuron], widths: fixed.Widths, chips: int = 1) -> None:
        self.shape = (chips, *population.shape)
        self.neuron = population.model
        self.parameters = tuple(np.asarray(x, np.int64) for x in self.neuron.parameters.values())
        self.rule = self.neuron.rule(population.kind is not Kind.ACCUMULATOR, widths)
        self.begin_sample()

    def begin_sample(self) -> None:
        """Start of a sample: states at rest, nothing pending."""
        start = self.neuron.initial
        self.state = {name: np.broadcast_to(np.asarray(x, np.int64), self.shape).copy() for name, x in start.items()}
        self.s = np.zeros(self.shape, np.int64)
        self.overflows = dict.fromkeys(start, 0)

    def step(self, a: Array) -> None:
        """One chip step."""
        found, overflowed = self.neuron.step((*self.state.values(), self.s), a, self.parameters, self.rule)
        *now, self.s = (np.asarray(x, np.int64) for x in found)
        self.state = dict(zip(self.state, now, strict=True))
        self.overflows = {name: int(x.sum()) for name, x in zip(self.state, overflowed, strict=True)}
