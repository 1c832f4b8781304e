"""The default engine: layer by layer over all sample steps, many samples at once; loops step by step.

It has no chip steps, no delays and no start steps; that it equals the reference engine proves the schedule.
Synapses are `synapses.py`, exact products in floating point; neurons are `cells.py`, feedback is `loops.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnhw.engines.base import Engine, Needs, Record, Session, noted, past, states
from snnhw.engines.cells import Cells
from snnhw.engines.loops import Loop
from snnhw.engines.synapses import Synapses, grouped
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Kind, Network


class FastEngine(Engine):
    """Batched and layer-synchronous (docs/design.md, "Engines")."""

    name = "fast"

    def open(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> FastSession:
        """Synapses grouped, weights in the float type that is exact for them."""
        return FastSession(network, machine, needs)


class FastSession(Session):
    """A batch of samples, layer by layer over all steps of an `advance`."""

    def __init__(self, network: Network[IntNeuron], machine: Machine, needs: Needs) -> None:
        super().__init__(network, machine, needs)
        self.cells = {p.name: Cells(p, needs, machine.widths) for p in network.computed}
        self.loops = {
            names: Loop(network, names, self.cells) for names in network.components if _feeds_back(network, names)
        }
        looped = {name for names in self.loops for name in names}
        self.groups: dict[str, tuple[Synapses, ...]] = {
            p.name: grouped(network, p, network.into(p.name)) for p in network.computed if p.name not in looped
        }
        place = {name: i for i, names in enumerate(network.components) for name in names}
        self.last_use = {name: max((place[q.post] for q in network.out_of(name)), default=-1) for name in place}
        self.depths = {name: n for name in place if (n := past(network, name))}
        self.past: dict[str, Array] = {}
        """Spikes of the steps before, oldest first, (B, depth, *shape)."""

    def _walk(self, given: Mapping[str, Array]) -> Iterator[tuple[str, Record]]:
        batch, steps = next(iter(given.values())).shape[:2]
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

    def _begin(self, batch: int) -> None:
        self.samples = batch
        for cells in self.cells.values():
            cells.begin(batch)
        self.past = {
            name: np.zeros((batch, depth, *self.network[name].shape), np.int8) for name, depth in self.depths.items()
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
            return given[name], noted(self.needs, population, given[name])
        total: Array | None = None
        for group in self.groups[name]:
            part = group.arriving(values, self.past, population)
            total = part if total is None else total + part
        cells = self.cells[name]
        arrived = (
            np.zeros((*size, population.size), np.int64) if total is None else total.reshape(*size, population.size)
        )
        return cells.record(cells.update(arrived))

    def _save(self) -> dict[str, Array]:
        held = {
            f"{state}/{name}": cells.held[i].reshape(-1, *cells.population.shape)
            for name, cells in self.cells.items()
            for i, state in enumerate(states(cells.population))
        }
        return held | {f"past/{name}": spikes[:, ::-1] for name, spikes in self.past.items()}

    def _load(self, held: Mapping[str, Array]) -> None:
        assert self.samples is not None
        self._begin(self.samples)
        self.past = {name: np.ascontiguousarray(held[f"past/{name}"][:, ::-1]) for name in self.past}
        for name, cells in self.cells.items():
            rows = [held[f"{state}/{name}"] for state in states(cells.population)]
            last = self.past[name][:, -1] if name in self.past else np.zeros_like(rows[0])
            cells.held[:] = np.stack([*rows, last]).reshape(cells.held.shape)


def _feeds_back(network: Network[IntNeuron], names: tuple[str, ...]) -> bool:
    """Whether a group of populations reads itself."""
    return len(names) > 1 or any(q.pre in names for q in network.into(names[0]))
