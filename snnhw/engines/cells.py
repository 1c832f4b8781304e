"""The neurons of one population in the fast engine: their state, and of what they do only what is needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw import fixed
from snnhw.engines.base import Needs, Record, noted, states
from snnhw.engines.kernels import Neurons, Room, flat
from snnhw.engines.layout import inner, outer
from snnhw.network import Array, IntNeuron, Kind, Population


class Cells:
    """One population; `held` is its states and the spikes of the last step, each (B, N) in the engine's order.

    Args:
        largest, exponent: the summed input is a * 2**exponent with |a| <= largest.
    """

    held: tuple[Array, ...]

    def __init__(
        self, population: Population[IntNeuron], needs: Needs, widths: fixed.Widths, largest: int | None, exponent: int
    ) -> None:
        self.population, self.needs, self.widths, self.exponent = population, needs, widths, exponent
        self.wanted = needs.state.get(population.name, frozenset())
        labels = needs.active.get(population.name)
        self.labels = None
        if labels is not None:
            self.labels = np.array(inner(labels.reshape(population.shape), population.shape))
        self.neurons = self._serve(largest)

    def _serve(self, largest: int | None) -> Neurons:
        p = self.population
        fires = p.kind is not Kind.ACCUMULATOR
        return Neurons(flat(p.model, p.shape), fires, p.size, self.widths, largest, self.exponent)

    def begin(self, batch: int) -> None:
        """Start samples at rest."""
        self.held = self.neurons.rest(batch)

    def room(self, size: tuple[int, int]) -> Room:
        """For what some samples and steps give."""
        labels = 0 if self.labels is None else int(self.labels.max(initial=-1)) + 1
        return self.neurons.room(*size, self.wanted, labels)

    def update(self, a: Array, room: Room, rows: slice = slice(None)) -> None:
        """Move some samples on by the steps of the summed input a (B or 1, k or 1, N), into their rows of the room."""
        rooms = room.rows(rows)
        a = a if len(a) == len(rooms.spikes) else np.broadcast_to(a, (len(rooms.spikes), *a.shape[1:]))  # constants
        self.neurons.update(a, tuple(x[rows] for x in self.held), rooms, self.labels)

    def record(self, room: Room) -> Record:
        """What was needed of these steps, (B, k, *shape)."""
        p, names = self.population, states(self.population)
        kept = {
            name: np.ascontiguousarray(outer(x, p.shape))
            for name, x in zip(names, room.state, strict=True)
            if name in self.wanted
        }
        overflows = {name: int(x.sum()) for name, x in zip(names, room.overflows, strict=True)}
        counted = None if self.labels is None else room.active
        needed = p.name in self.needs.spikes | self.needs.events
        spikes = np.ascontiguousarray(outer(room.spikes, p.shape)) if needed else None
        return noted(self.needs, p, spikes, state=kept, overflows=overflows, active=counted)

    def save(self) -> dict[str, Array]:
        """State -> (B, *shape)."""
        p = self.population
        return {name: outer(x, p.shape) for name, x in zip(states(p), self.held, strict=False)}

    def load(self, saved: Mapping[str, Array], fired: Array) -> None:
        """Take states back, (B, *shape), and the spikes of the step before, (B, N)."""
        rows = [inner(x, self.population.shape) for x in saved.values()]
        most = self.neurons.reach
        if most is not None and any(np.abs(x).max(initial=0) > end for x, end in zip(rows, most, strict=True)):
            self.neurons = self._serve(None)  # a state that no steps lead to
        number = self.neurons.number
        self.held = (*(np.array(x, number) for x in rows), np.array(fired, self.neurons.fired))
