"""From the spikes of a run to the messages of each chip step, and their event time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times
from snnhw.chip.event import Step, mesh_of, run_step, state_of
from snnhw.chip.loads import Loads
from snnhw.chip.wiring import Wiring
from snnhw.engines.base import Events
from snnhw.engines.compiled import compiled
from snnhw.errors import EngineError
from snnhw.network import Array, Kind


class _Table(NamedTuple):
    """The network as its cores see it; neurons, classes and slots (a population's part on one core) of all populations
    follow each other.

    Args:
        kind, seat: class of every neuron, and its place among those of all cores, core by core; -1 of inputs.
        seats: places of core c are seats[c]:seats[c + 1].
        home: of every class its core; -1 of inputs.
        first, to, work: messages of class k are first[k]:first[k + 1], each with its core and what it costs there.
        flits: of every class, of each of its messages.
        core, driven: of every slot, `driven` its neurons with a bias.
        slots, neurons, host: of every population its first slot and neuron (and the ends); whether it is an input.
        prices: picoseconds of access, update, spike_out and of each flit.
    """

    kind: Array
    seat: Array
    seats: Array
    home: Array
    first: Array
    to: Array
    work: Array
    flits: Array
    core: Array
    driven: Array
    slots: Array
    neurons: Array
    host: Array
    prices: Array


class EventTimes:
    """Times of samples by the event model; a sample is timed once all its populations have been seen."""

    def __init__(self, artifact: Artifact, wiring: Wiring, loads: Loads) -> None:
        self.network, self.loads, self.mesh = artifact.network, loads, mesh_of(wiring.cores, artifact.target)
        self._table = _table(artifact, wiring, loads)
        self._seen: dict[str, tuple[Events, Array]] = {}
        self._found: list[tuple[int, int]] = []
        self.steps: list[Array] = []
        """Times of the T steps of the stream of every chunk, (B, T), barriers included."""
        self.isolated: list[Array] = []
        """The same of the chip steps of an isolated sample, (B, depth + T)."""

    def add(self, population: str, events: Events, active: Array) -> None:
        """Events and active updates (B, T, population's cores) of one population of the chunk."""
        self._seen[population] = events, active
        if len(self._seen) < len(self.network.populations):
            return
        parts = [self._seen[p.name] for p in self.network.populations]
        self._seen = {}
        steps, depth = self.network.steps, self.network.depth
        batch = len(parts[0][1])
        before = np.cumsum([0, *(len(e.neurons) for e, _ in parts[:-1])])
        ends = np.stack([e.ends for e, _ in parts]) + before[:, None]
        neurons = np.concatenate([e.neurons for e, _ in parts])
        busy = np.concatenate([a for _, a in parts], axis=2).reshape(batch * steps, -1)
        start = np.array([p.start for p in self.network.populations])
        since = np.arange(depth + steps)[:, None] - start
        once = np.where((since < 0) | (since >= steps), -1, since)  # sample step of each population in each chip step
        steady = (np.arange(steps)[:, None] - start) % steps
        # chip steps in which all populations work are the same in both: a step is timed once
        when, which = np.unique(np.concatenate([once, steady]), axis=0, return_inverse=True)
        rows = batch * len(when)
        found = np.zeros(rows, np.int64)
        workers = min(rows, len(os.sched_getaffinity(0)))
        cut = np.linspace(0, rows, workers + 1).astype(int)

        def part(n: int) -> None:
            state = state_of(self.mesh)
            _rows(cut[n], cut[n + 1], when, steps, ends, neurons, busy, self._table, self.mesh, state, found)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(part, range(workers)))
        times = found.reshape(batch, len(when))[:, which.ravel()]
        if (times < 0).any():
            raise EngineError(
                "step-too-long",
                "event time counts picoseconds of up to 53 days of work in a step",
                where=f"chip step {int((times < 0).any(axis=0).argmax())}",
                hint="use --timing analytic",
            )
        times = times + self.loads.sync
        each = times[:, : len(once)].sum(axis=1), times[:, len(once) :].sum(axis=1)
        self.steps.append(times[:, len(once) :])
        self.isolated.append(times[:, : len(once)])
        self._found += zip(*(part.tolist() for part in each), strict=True)

    @property
    def times(self) -> Times:
        """The analytic times with event latencies and periods."""
        plain = self.loads.times
        if not self._found:
            return plain
        latency, period = zip(*self._found, strict=True)
        return replace(
            plain, latency=sum(latency), latency_min=min(latency), latency_max=max(latency), period=sum(period),
            period_min=min(period), period_max=max(period),
        )  # fmt: skip


def _table(artifact: Artifact, wiring: Wiring, loads: Loads) -> _Table:
    target, populations = artifact.target, artifact.network.populations
    kind, at, key, home, lengths, to, work, core, driven = (list[Array]() for _ in range(9))
    flits: list[int] = []
    slots, neurons = [0], [0]
    classes = 0
    for p in populations:
        fan, cost = wiring.fans[p.name], loads.costs[p.name]
        kind.append(fan.labels + classes)
        home.append(fan.home)
        for whole, part in zip((lengths, to, work), _messages(fan.touched, cost.receive.T), strict=True):
            whole.append(part)
        flits += [fan.flits] * len(fan.home)
        core.append(cost.at)
        if p.kind is Kind.INPUT:
            at.append(np.full(p.size, -1))
            key.append(np.zeros(p.size, np.int64))
        else:
            at.append(cost.at[cost.slot])
            key.append(_scattered(cost.slot))
            driven.append(np.bincount(cost.slot, np.broadcast_to(p.model.bias != 0, p.shape).ravel(), len(cost.at)))
        slots.append(slots[-1] + len(cost.at))
        neurons.append(neurons[-1] + p.size)
        classes += len(fan.home)
    time = target.time
    kinds, ats, keys, homes, costs, cores, pushed, targets = (
        np.concatenate(part).astype(np.int64) for part in (kind, at, key, home, work, core, driven, to)
    )
    order = np.lexsort((keys, ats))
    inputs = int((ats < 0).sum())
    seat = np.empty(len(order), np.int64)
    seat[order] = np.maximum(np.arange(len(order)) - inputs, -1)
    seats = np.searchsorted(ats[order], np.arange(len(wiring.cores) + 1)) - inputs
    first = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return _Table(
        kinds, seat, seats, homes, first, targets, costs, np.array(flits, np.int64), cores, pushed, np.array(slots),
        np.array(neurons), np.array([p.kind is Kind.INPUT for p in populations]),
        np.array([time.access, time.update, time.spike_out, time.message_out]),
    )  # fmt: skip


def order_on_cores(artifact: Artifact) -> list[tuple[str, int, int]]:
    """(population, neuron, core) of all computed neurons, core by core in the order in which the core takes them."""
    owner: list[tuple[str, int, int]] = []
    keys = []
    for p in artifact.network.computed:
        core = artifact.mapping.core_map(p.name, p.shape).ravel()
        keys.append(_scattered(np.unique(core, return_inverse=True)[1]))
        owner += [(p.name, neuron, at) for neuron, at in enumerate(core.tolist())]
    order = np.lexsort((np.concatenate(keys), np.array([core for *_, core in owner])))
    return [owner[at] for at in order.tolist()]


def _scattered(slot: Array) -> Array:
    """Key by which a core takes the neurons of its slots: neighbours far apart (multiples of the golden ratio), and
    those of several slots in turn. Neighbours send to the same cores, and a burst of theirs would fill the buffers."""
    order = np.argsort(slot, kind="stable")
    starts = np.searchsorted(slot[order], slot[order])
    key = np.empty(len(slot), np.int64)
    key[order] = (np.arange(len(slot)) - starts) * 2654435769 % (1 << 32)
    return key


def _messages(touched: Any, receive: Any) -> tuple[Array, Array, Array]:
    """Of messages to cores and what those do, CSR (classes, cores): (messages of each class, their cores, their costs).

    What several messages to one core cost is known together: in equal parts.
    """
    touched = touched.tocsr().sorted_indices()
    row, number = np.repeat(np.arange(touched.shape[0]), np.diff(touched.indptr)), touched.data
    costs = receive.tocsr()[row, touched.indices] if len(row) else np.zeros(0)  # scipy picks no elements as a matrix
    each, more = np.divmod(np.asarray(costs, np.int64).ravel(), number)
    before = np.concatenate([[0], np.cumsum(number)])
    nth = np.arange(before[-1]) - np.repeat(before[:-1], number)
    work = np.repeat(each, number) + (nth < np.repeat(more, number))
    return np.asarray(touched.sum(axis=1)).ravel(), np.repeat(touched.indices, number), work


@compiled()
def _rows(begin, end, when, steps, ends, neurons, busy, table, mesh, state, found):  # type: ignore[no-untyped-def]
    """Event times of chip steps: row r is chip step r % len(when) of sample r // len(when)."""
    fired = np.zeros(table.seats[-1], np.int32)
    for row in range(begin, end):
        sample, chip_step = divmod(row, len(when))
        step = _step(when[chip_step], sample * steps, ends, neurons, busy, table, fired)
        found[row] = run_step(step, mesh, state)


@compiled()
def _step(when, base, ends, neurons, busy, table, fired):  # type: ignore[no-untyped-def]
    """The messages of one chip step, core by core, each takes its neurons by their seats.

    Active updates of a core are spread evenly over its neurons.

    Args:
        fired: zeros, one for each seat; and zeros again afterwards.
    """
    cores = len(table.seats) - 1
    first, host, active = np.zeros(cores + 1, np.int64), np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    for p in range(len(when)):
        for slot in range(table.slots[p], table.slots[p + 1]):
            active[table.core[slot]] += busy[base + when[p], slot] if when[p] >= 0 else table.driven[slot]
        if when[p] < 0:
            continue
        for at in range(ends[p, base + when[p]], ends[p, base + when[p] + 1]):
            neuron = table.neurons[p] + neurons[at]
            kind = table.kind[neuron]
            if table.host[p]:
                for m in range(table.first[kind], table.first[kind + 1]):
                    host[table.to[m]] += table.work[m]
            else:
                first[table.home[kind] + 1] += table.first[kind + 1] - table.first[kind]
                fired[table.seat[neuron]] = kind + 1
    for core in range(cores):
        first[core + 1] += first[core]
    total = first[cores]
    gap, to = np.empty(total, np.int64), np.empty(total, np.int64)
    work, flits = np.empty(total, np.int64), np.empty(total, np.int64)
    rest = np.zeros(cores, np.int64)
    access, update, spike, flit = table.prices
    n = 0
    for core in range(cores):
        begin, size = table.seats[core], table.seats[core + 1] - table.seats[core]
        spent, told = 0, 0  # picoseconds since the last message, and of all neurons so far
        for count in range(1, size + 1):
            if fired[begin + count - 1] == 0:
                continue
            kind = fired[begin + count - 1] - 1
            fired[begin + count - 1] = 0
            upto = access * count + update * (active[core] * count // size)
            spent += upto - told + spike
            told = upto
            for m in range(table.first[kind], table.first[kind + 1]):
                gap[n] = spent + flit * table.flits[kind]
                to[n], work[n], flits[n] = table.to[m], table.work[m], table.flits[kind]
                spent = 0
                n += 1
        rest[core] = spent + access * size + update * active[core] - told
    return Step(first, gap, to, work, flits, rest, host)
