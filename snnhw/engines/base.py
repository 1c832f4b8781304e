"""What every engine promises: a session on a network that makes what is needed, the same bits in every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from typing import Any, Protocol

import numpy as np

from snnhw.errors import DataError, EngineError
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Population, Shape


def states(population: Population[IntNeuron]) -> tuple[str, ...]:
    """Names of the state variables of a population's neurons; inputs have none."""
    return () if population.kind is Kind.INPUT else population.model.STATES


@dataclass(frozen=True)
class Needs:
    """What a session makes beside the spikes that other populations read; nothing else is made or stored.

    Overflows are always counted: they say whether a result can be trusted.

    Args:
        spikes: populations whose spikes (inputs: values) are recorded.
        state: population -> the states that are recorded, by name.
        events: populations whose spikes are recorded as `Events`.
        active: computed population -> a label of every neuron, int32 (N,); active updates are counted by label.
    """

    spikes: frozenset[str] = frozenset()
    state: Mapping[str, frozenset[str]] = field(default_factory=dict)
    events: frozenset[str] = frozenset()
    active: Mapping[str, Array] = field(default_factory=dict)

    @staticmethod
    def everything(network: Network[IntNeuron]) -> Needs:
        """Spikes of all populations and all their states."""
        spikes = frozenset(p.name for p in network.populations)
        return Needs(spikes, {p.name: frozenset(states(p)) for p in network.computed})

    def __or__(self, other: Needs) -> Needs:
        names = {*self.state, *other.state}
        state = {name: self.state.get(name, frozenset()) | other.state.get(name, frozenset()) for name in names}
        for name in self.active.keys() & other.active.keys():
            assert np.array_equal(self.active[name], other.active[name]), f"two groupings of {name}"
        active = {**self.active, **other.active}
        return Needs(self.spikes | other.spikes, state, self.events | other.events, active)

    def check(self, network: Network[IntNeuron]) -> None:
        """Raises EngineError 'bad-needs' for a population or state that the network does not have."""
        known = {p.name: states(p) for p in network.populations}
        for name in sorted({*self.spikes, *self.state, *self.events, *self.active}):
            if name not in known:
                raise EngineError(
                    "bad-needs", f"the network has no population {name!r}", where=name, limit=", ".join(known)
                )
            for state in sorted(self.state.get(name, frozenset())):
                if state not in known[name]:
                    text = f"the population has no state {state!r}"
                    raise EngineError("bad-needs", text, where=name, limit=", ".join(known[name]) or "none: an input")


@dataclass(frozen=True)
class Events:
    """The spikes of one population that are not zero, by sample, step and neuron.

    Args:
        neurons: flat index of the neuron of every event, int32 (events,).
        values: spikes of every event (inputs: their value), (events,).
        ends: where the events of sample b and step t begin and end: entries b * steps + t and the next.
    """

    neurons: Array
    values: Array
    ends: Array
    steps: int

    @staticmethod
    def of(spikes: Array) -> Events:
        """The events of spikes (B, k, ...)."""
        rows = spikes.reshape(spikes.shape[0] * spikes.shape[1], prod(spikes.shape[2:]))
        row, neurons = np.nonzero(rows)
        ends = np.searchsorted(row, np.arange(len(rows) + 1))
        return Events(neurons.astype(np.int32), rows[row, neurons], ends, spikes.shape[1])

    def at(self, sample: int, step: int) -> tuple[Array, Array]:
        """Neurons and values of one sample step; both counted from the record's first."""
        row = sample * self.steps + step
        part = slice(self.ends[row], self.ends[row + 1])
        return self.neurons[part], self.values[part]


@dataclass(frozen=True)
class Record:
    """What one population did in some sample steps of some samples; every array is (B, k, *population shape).

    Args:
        spikes: spike counts (inputs: their values), an integer type; None where nobody needs them.
        state: state -> its values after the step (v after reset), int32; only those that somebody needs.
        overflows: state -> how often it left its range (u turned over, v saturated), summed over the record.
        events: the spikes that are not zero, if somebody needs them.
        active: active updates by label, int64 (B, k, labels), if somebody needs them.
    """

    spikes: Array | None = None
    state: Mapping[str, Array] = field(default_factory=dict)
    overflows: Mapping[str, int] = field(default_factory=dict)
    events: Events | None = None
    active: Array | None = None

    def get(self, name: str, where: str) -> Array:
        """'spikes', 'active' or a state by name; raises EngineError 'no-state' if population `where` has none here."""
        found = {"spikes": self.spikes, "active": self.active, **self.state}.get(name)
        if found is None:
            raise EngineError("no-state", f"{name} was not recorded", where=where, hint="declare it in `needs`")
        return found


def by_step(records: Mapping[str, Record]) -> Iterator[tuple[int, int, str, Array, Array]]:
    """Events of all populations, step by step: (sample, step, population, neurons, values).

    Samples one after another, in each its sample steps, in each the populations that have events in the network's
    order. A population emits sample step t in chip step `start` + t. Steps are counted from the records' first.
    """
    events = {name: record.events for name, record in records.items() if record.events is not None}
    rows = {(len(each.ends) - 1, each.steps) for each in events.values()}
    for count, steps in rows:
        for row in range(count):
            for name, each in events.items():
                neurons, values = each.at(*divmod(row, steps))
                if len(neurons):
                    yield (*divmod(row, steps), name, neurons, values)


class Observer(Protocol):
    """Says what it needs, sees every population of every chunk of samples once, and keeps what it wants of them."""

    @property
    def needs(self) -> Needs: ...

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """`first_sample` is the index of the chunk's first sample in the whole run."""
        ...


def past(network: Network[IntNeuron], name: str) -> int:
    """How many steps back a population's spikes may still be read: by a lag, or by its own next-step reset."""
    p = network[name]
    late = p.kind not in (Kind.INPUT, Kind.ACCUMULATOR) and p.model.late
    return max([int(late), *(q.lag for q in network.out_of(name))])


class Session(ABC):
    """An engine that has opened a network. It holds the state of some samples from one `advance` to the next.

    All engines give the same bits however the steps are cut, and their `state` is the same: what one saved, another
    resumes. Step by step equals the whole run; the first k steps of a run are those of a run of k steps.

    Attributes:
        steps: sample steps that the samples have taken so far.
        samples: how many samples run side by side; None before their first step.
    """

    steps = 0
    samples: int | None = None

    def __init__(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> None:
        needs.check(network)
        self.network, self.machine, self.needs = network, machine, needs

    def advance(self, x: Array | Mapping[str, Array]) -> dict[str, Record]:
        """Take k >= 0 sample steps and return the records of these sample steps, all populations in order.

        Args:
            x: integer values (B, k, *shape) of every input population by name; the array alone where there is one.

        Raises:
            DataError: shapes that do not fit the network or the samples that are running.
        """
        return dict(self._walk(self._given(x)))

    def reset(self) -> None:
        """Start new samples, at rest, with nothing on the way; their number is that of the next `advance`."""
        self.steps, self.samples = 0, None

    def drain(self) -> None:
        """End the samples: let the last population finish, drop what would arrive after them, and start new ones.

        Every `advance` has returned all records of its steps already, so nothing is left to return.
        """
        self.reset()

    @property
    def state(self) -> dict[str, Array]:
        """All that the steps to come depend on, as copies; assign it to resume where it was read.

        `steps`, and where samples run: states `STATE/NAME` (B, *shape) and `past/NAME` (B, steps, *shape), the spikes
        of the steps before, newest first, of populations that something reads late.
        """
        held = {} if self.samples is None else self._save()
        return {"steps": np.array(self.steps, np.int64), **{key: np.array(x, np.int64) for key, x in held.items()}}

    @state.setter
    def state(self, saved: Mapping[str, Array]) -> None:
        held = {key: np.asarray(x, np.int64) for key, x in saved.items() if key != "steps"}
        layout = self._layout() if held else {}
        samples = {len(x) for x in held.values() if x.ndim}
        if (
            "steps" not in saved
            or held.keys() != layout.keys()
            or len(samples) > 1
            or any(held[key].shape[1:] != shape for key, shape in layout.items())
        ):
            raise EngineError(
                "bad-state",
                "this is not a state of a session on this network",
                where=", ".join(sorted(held.keys() ^ layout.keys())[:3]) or None,
                hint="take it from `state` of a session on the same network",
            )
        for key, x in held.items():
            population = self.network[key.partition("/")[2]]
            low, high = population.payload
            if (
                key.startswith("past/")
                and population.kind is not Kind.INPUT
                and x.size
                and not low <= x.min() <= x.max() <= high
            ):
                raise EngineError(
                    "bad-state",
                    "the state holds spikes that no neuron of the population sends",
                    where=key,
                    needed=f"{x.min()} to {x.max()}",
                    limit=f"{low} to {high}",
                    hint="take it from `state` of a session on the same network",
                )
        self.reset()
        if samples:
            self.steps, self.samples = int(saved["steps"]), samples.pop()
            self._load(held)

    def run(self, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run whole samples, chunk by chunk, and show every population to the observers as soon as it is there.

        Args:
            chunks: input population -> integer values (B, T, *shape), in order; all belong to one run.
        """
        first = 0
        for chunk in chunks:
            self.reset()
            given = self._given(chunk)
            for name, record in self._walk(given):
                for observer in observers:
                    observer.observe(first, name, record)
            first += _sizes(given)[0]

    def _given(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """The input of some steps by population."""
        inputs = self.network.inputs
        if not isinstance(x, Mapping):
            if len(inputs) != 1:
                names = ", ".join(p.name for p in inputs)
                raise DataError("bad-shape", "the network has several inputs", where="x", needed=names)
            x = {inputs[0].name: x}
        given = {p.name: np.asarray(x[p.name]) for p in inputs}
        size = _sizes(given)
        for p in inputs:
            found = given[p.name].shape
            if found[2:] != p.shape or found[:2] != size or self.samples not in (None, found[0]):
                samples = self.samples or "samples"
                raise DataError(
                    "bad-shape",
                    "the values do not fit the input population",
                    where=p.name,
                    needed=f"({', '.join(map(str, (samples, 'steps', *p.shape)))})",
                    limit=found,
                )
        return given

    def _layout(self) -> dict[str, Shape]:
        """Names and shapes of what `state` holds of one sample."""
        found = {f"{state}/{p.name}": p.shape for p in self.network.computed for state in states(p)}
        depths = {p.name: past(self.network, p.name) for p in self.network.populations}
        return found | {f"past/{name}": (n, *self.network[name].shape) for name, n in depths.items() if n}

    @abstractmethod
    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        """Records of all populations, each as soon as it is known; moves on `steps` and sets `samples`."""

    @abstractmethod
    def _save(self) -> Mapping[str, Array]:
        """What `_layout` names, while samples run."""

    @abstractmethod
    def _load(self, held: Mapping[str, Array]) -> None:
        """Take it back."""


def _sizes(given: Mapping[str, Array]) -> tuple[int, ...]:
    """Samples and steps of the input."""
    return next(iter(given.values())).shape[:2]


class Log:
    """What is needed of one population while an engine goes step by step.

    `rows` are the samples that are running, of all that the log holds.
    """

    def __init__(self, population: Population[IntNeuron], needs: Needs, size: tuple[int, ...]) -> None:
        self.population, self.needs, self.rows = population, needs, slice(None)
        shape, name = (*size, *population.shape), population.name
        self.spikes = np.zeros(shape, np.int64) if name in needs.spikes | needs.events else None
        self.state = {state: np.zeros(shape, np.int32) for state in needs.state.get(name, ())}
        self.overflows = dict.fromkeys(states(population), 0)
        self.labels = needs.active.get(name)
        labels = 0 if self.labels is None else int(self.labels.max(initial=-1)) + 1
        self.active = np.zeros((*size, labels), np.int64)

    def add(
        self, t: int, spikes: Array, state: Mapping[str, Array], overflows: Mapping[str, int], before: Array
    ) -> None:
        """One step: spikes and states after it, (B, *shape), how many states overflowed, and v before it."""
        if self.spikes is not None:
            self.spikes[self.rows, t] = spikes
        for name, kept in self.state.items():
            kept[self.rows, t] = state[name]
        for name, count in overflows.items():
            self.overflows[name] += count
        if self.labels is not None:
            size = self.population.size
            first, *now = (
                np.broadcast_to(x, before.shape).reshape(-1, size) for x in (before, spikes, *state.values())
            )
            self.active[self.rows, t] = active(self.population, self.labels, first, *(x[:, None] for x in now))[:, 0]

    def record(self) -> Record:
        """All steps."""
        counted = None if self.labels is None else self.active
        return noted(
            self.needs, self.population, self.spikes, state=self.state, overflows=self.overflows, active=counted
        )


class Engine(ABC):
    """Opens networks. An engine never falls back to another.

    Raises of `open` and of its sessions: EngineError when the engine is not installed, fails or runs out of time.
    """

    name: str

    @abstractmethod
    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> Session:
        """A session on an integer network as a machine runs it, that makes what is needed and no more."""

    def run(
        self,
        network: Network[IntNeuron],
        machine: Machine,
        chunks: Iterable[Mapping[str, Array]],
        observers: Sequence[Observer],
    ) -> None:
        """Open the network for what the observers need together, and run whole samples; see `Session.run`."""
        needs: Needs = reduce(lambda one, other: one | other, (o.needs for o in observers), Needs())
        self.open(network, machine, needs).run(chunks, observers)


def active(
    population: Population[IntNeuron], labels: Array, before: Array, spikes: Array, u: Array, v: Array, *more: Array
) -> Array:
    """Active updates by label, int64 (B, k, labels); arrays (B, k, N), `before` v before the first step, (B, N).

    An update is active when v before the step, another state, the bias or the spike is not zero (SANA-FE's rule,
    with 'an input arrived' read from u: inputs that cancel exactly count as none).
    """
    biased = np.broadcast_to(np.asarray(population.model.bias) != 0, population.shape).ravel()
    v_before = np.concatenate([before[:, None], v[:, :-1]], axis=1)[:, : v.shape[1]]
    (batch, steps, size), count = v.shape, int(labels.max(initial=-1)) + 1
    row, at = np.nonzero(
        (reduce(np.logical_or, (x != 0 for x in (v_before, u, spikes, *more))) | biased).reshape(batch * steps, size)
    )
    found = np.bincount(row * count + labels[at], minlength=batch * steps * count)
    return found.reshape(batch, steps, count)


def noted(needs: Needs, population: Population[IntNeuron], spikes: Array | None, **found: Any) -> Record:
    """A record of what is needed of a population, whose spikes are there if they are needed."""
    return Record(
        spikes=spikes if population.name in needs.spikes else None,
        events=Events.of(spikes) if spikes is not None and population.name in needs.events else None,
        **found,
    )
