"""The default engine: layer by layer over all sample steps, many samples at once; loops step by step.

It has no chip steps, no delays and no start steps; that it equals the reference engine proves the schedule.
Synapses are `synapses.py`, exact products of bytes or floats; neurons are `cells.py`, feedback is `loops.py`. Inside,
spikes are (B, k, N) in the order of `layout.py`, of the smallest type that holds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from snnhw.engines.base import Engine, Needs, Record, Session, noted, past, states
from snnhw.engines.cells import Cells
from snnhw.engines.layout import inner, outer
from snnhw.engines.loops import Loop
from snnhw.engines.synapses import Inputs, compact
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network, Population

CHUNK = 1 << 18
"""Sums of one thread that stay in its cache between product and update."""


class FastEngine(Engine):
    """Batched and layer-synchronous (docs/design.md, "Engines")."""

    name = "fast"

    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> FastSession:
        """Synapses grouped, each with the fastest product that is exact for them, and neurons likewise."""
        return FastSession(network, machine, needs)


class FastSession(Session):
    """A batch of samples, layer by layer over all steps of an `advance`."""

    def __init__(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> None:
        super().__init__(network, machine, needs)
        self._open(network)

    def _open(self, network: Network[IntNeuron]) -> None:
        """Choose products and kernels, which are exact for the values that inputs may have."""
        self.network, needs, machine = network, self.needs, self.machine
        loops = [names for names in network.components if _feeds_back(network, names)]
        self.loops = {names: Loop(network, names, needs, machine) for names in loops}
        self.inputs: dict[str, Inputs] = {}
        self.cells: dict[str, Cells] = {name: c for loop in self.loops.values() for name, c in loop.cells.items()}
        for p in network.computed:
            if p.name not in self.cells:
                into = self.inputs[p.name] = Inputs(network, p, network.into(p.name))
                self.cells[p.name] = Cells(p, needs, machine.widths, into.bound, into.exponent)
        place = {name: i for i, names in enumerate(network.components) for name in names}
        self.last_use = {name: max((place[q.post] for q in network.out_of(name)), default=-1) for name in place}
        self.depths = {name: n for name in place if (n := past(network, name))}
        self.past: dict[str, Array] = {}
        """Spikes of the steps before, oldest first, (B, depth, N)."""

    @property
    def info(self) -> list[dict[str, str]]:
        """Which kernel every layer runs in, and why no faster one, in the network's order.

        `population`; `synapses`, or `neurons`, the kernel's name; `from`, the projections that share a product; `why`.
        """
        into: dict[str, tuple[Inputs, ...]] = {name: (x,) for name, x in self.inputs.items()}
        for loop in self.loops.values():
            into |= {name: (loop.outside[name], loop.inside[name]) for name in loop.cells}
        rows = []
        for p in self.network.computed:
            for group in (group for inputs in into[p.name] for group in inputs.groups):
                row = {"population": p.name, "from": ", ".join(group.pres), "synapses": group.kernel, "why": group.why}
                rows.append(row)
            why = self.cells[p.name].neurons.why
            kernel = "64-bit states, any rule" if why else "32-bit states, compiled for the rule"
            rows.append({"population": p.name, "neurons": kernel, "why": why})
        return rows

    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        batch, steps = next(iter(given.values())).shape[:2]
        if wider := self._wider(given):
            held = self.state
            self._open(wider)
            self.state = held
        if self.samples is None:
            self._begin(batch)
        values: dict[str, Array] = {}
        for i, names in enumerate(self.network.components):
            if names in self.loops:
                found = self.loops[names].run(values, self.past, (batch, steps))
            else:
                found = {name: self._alone(name, given, values, (batch, steps)) for name in names}
            for name, (spikes, record) in found.items():
                values[name] = spikes
                yield name, record
            for name in [name for name in values if self.last_use[name] <= i]:
                self._remember(name, values.pop(name))
        self.steps += steps

    def _wider(self, values: Mapping[str, Array]) -> Network[IntNeuron] | None:
        """The network with payloads that hold the values of inputs too, (B, k, ...); None if they do. Nobody promised
        that they would, and what is exact is decided from payloads."""
        beyond = {name: ends for name, x in values.items() if (ends := _beyond(x, self.network[name].payload))}
        members = (replace(p, payload=beyond.get(p.name, p.payload)) for p in self.network.populations)
        return replace(self.network, populations=tuple(members)) if beyond else None

    def _begin(self, batch: int) -> None:
        self.samples = batch
        for cells in self.cells.values():
            cells.begin(batch)
        self.past = {
            name: np.zeros((batch, depth, self.network[name].size), np.int8) for name, depth in self.depths.items()
        }

    def _remember(self, name: str, spikes: Array) -> None:
        if depth := self.depths.get(name):
            self.past[name] = np.concatenate([self.past[name], spikes[:, -depth:]], axis=1)[:, -depth:]

    def _alone(
        self, name: str, given: Mapping[str, Array], values: Mapping[str, Array], size: tuple[int, int]
    ) -> tuple[Array, Record]:
        """One population over all steps: its spikes, and what is needed of it."""
        population = self.network[name]
        if population.kind is Kind.INPUT:
            return _entered(given[name], population), noted(self.needs, population, given[name])
        cells, into = self.cells[name], self.inputs[name]
        room = cells.room(size)
        at_once = max(1, CHUNK * torch.get_num_threads() // max(1, size[1] * population.size))
        for first in range(0, size[0], at_once):
            rows = slice(first, first + at_once)
            cells.update(into.sums(values, self.past, rows), room, rows)
        return room.spikes, cells.record(room)

    def _save(self) -> dict[str, Array]:
        held = {f"{state}/{name}": x for name, cells in self.cells.items() for state, x in cells.save().items()}
        shapes = {p.name: p.shape for p in self.network.populations}
        return held | {f"past/{name}": outer(spikes[:, ::-1], shapes[name]) for name, spikes in self.past.items()}

    def _load(self, held: Mapping[str, Array]) -> None:
        assert self.samples is not None
        inputs = {p.name: held[f"past/{p.name}"] for p in self.network.inputs if p.name in self.depths}
        if wider := self._wider(inputs):
            self._open(wider)
        self._begin(self.samples)
        for name in self.past:
            self.past[name] = inner(held[f"past/{name}"][:, ::-1], self.network[name].shape)
        for name, cells in self.cells.items():
            rows = {state: held[f"{state}/{name}"] for state in states(cells.population)}
            nothing = np.zeros((self.samples, cells.population.size), np.int8)
            cells.load(rows, self.past[name][:, -1] if name in self.past else nothing)


def _beyond(x: Array, payload: tuple[int, int]) -> tuple[int, int] | None:
    """A range that holds the values too, if the payload does not."""
    x = x[:, :1] if x.strides[1] == 0 else x
    low, high = (int(end(x, initial=0)) for end in (np.min, np.max))
    return None if payload[0] <= low and high <= payload[1] else (min(low, payload[0]), max(high, payload[1]))


def _entered(x: Array, population: Population[IntNeuron]) -> Array:
    """Values of an input (B, k, *shape) as (B, k, N); a static one keeps one step."""
    steps = x.shape[1]
    static = steps > 1 and x.strides[1] == 0
    small = (x[:, :1] if static else x).astype(compact(population.payload), copy=False)  # before it is moved
    flat = inner(small, population.shape)
    return np.broadcast_to(flat, (len(x), steps, population.size))


def _feeds_back(network: Network[IntNeuron], names: tuple[str, ...]) -> bool:
    """Whether a group of populations reads itself."""
    return len(names) > 1 or any(q.pre in names for q in network.into(names[0]))
