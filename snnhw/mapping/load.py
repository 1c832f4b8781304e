"""How busy a network is, and what that makes slices work: generation, reception and messages (docs/targets.md, "Load").

The prices are those of the analytic time model (docs/energy.md).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnhw.errors import MappingError
from snnhw.machine import Machine
from snnhw.network import Array, Kind, Network, Projection
from snnhw.operators.base import Ints, box_sums, sizes

RATE = 0.1
"""Events of a neuron in a step where nobody says: a tenth of the neurons fire, every input value is an event."""

ASSUMED = f"assumed: {RATE} events of a neuron and 1 of an input value in a step; every neuron is updated"

FINEST = 1000
"""Stated rates are whole events in so many steps."""


@dataclass(frozen=True)
class Load:
    """What happened in some steps: whole numbers, so that no order of adding them up changes a placement.

    Args:
        origin: where the numbers are from, as `compile` says it.
        steps: steps that were counted.
        events: population -> events of each neuron, float64 of its shape.
        active: computed population -> updates of active neurons.
    """

    origin: str
    steps: int
    events: Mapping[str, Array]
    active: Mapping[str, int]

    def rates(self) -> dict[str, float]:
        """Mean events of a neuron in a step, by population."""
        return {name: round(float(events.mean()) / self.steps, 6) for name, events in self.events.items()}


Rates = float | str | Mapping[str, float] | None
"""One rate for all neurons, or patterns with rates (as text or mapping; the first that matches counts)."""


def stated(network: Network[Any], rates: Rates = None) -> Load:
    """A load of one rate for each population, every neuron updated; where nobody says, RATE, and 1 for inputs.

    Raises:
        MappingError: 'bad-rates' where they are none from 0 to 1, or a pattern matches no population.
    """
    said = {p.name: 1.0 if p.kind is Kind.INPUT else RATE for p in network.populations}
    for pattern, rate in reversed(_rules(rates)):
        names = [p.name for p in network.computed] if pattern is None else fnmatch.filter(said, pattern)
        names = [pattern] if pattern in said else names
        if not names:
            raise MappingError(
                "bad-rates", f"no population is named {pattern}", where=f"--rates {rates}", limit=", ".join(said)
            )
        said |= dict.fromkeys(names, rate)
    events = {p.name: np.full(p.shape, float(round(said[p.name] * FINEST))) for p in network.populations}
    origin = ASSUMED if rates is None else f"stated: {rates} events of a neuron in a step; every neuron is updated"
    return Load(origin, FINEST, events, {p.name: p.size * FINEST for p in network.computed})


def _rules(rates: Rates) -> list[tuple[str | None, float]]:
    """Patterns of names with their rates; one number is of all neurons, which inputs are not."""
    if rates is None:
        return []
    if isinstance(rates, Mapping):
        pairs = [(name, "=", str(rate)) for name, rate in rates.items()]
    else:
        pairs = [part.rpartition("=") for part in str(rates).split(",")]
    try:
        found = [(name.strip() if equals else None, float(rate)) for name, equals, rate in pairs]
    except ValueError:
        found = [(None, np.nan)]
    if not all(0 <= rate <= 1 for _, rate in found):
        raise MappingError(
            "bad-rates",
            "this says no rates: events of a neuron in a step",
            where=f"--rates {rates}",
            limit="a number from 0 to 1, or NAME=RATE,... with names of populations (* and ? match any)",
        )
    return found


def flits(target: Machine, payload: tuple[int, int]) -> int:
    """Flits of one message: the spike's, and further ones for a payload that is more than 'it fired'."""
    bits = max(abs(end) for end in payload).bit_length() + (payload[0] < 0)
    return 1 if target.chip.flit_bits is None or bits <= 1 else 1 + -(-bits // target.chip.flit_bits)


@dataclass
class Work:
    """Work of the slices of a network under a load, over all its steps; what no cut changes is computed once."""

    network: Network[Any]
    target: Machine
    load: Load
    _synops: dict[str, Array] = field(default_factory=dict)
    _traffic: dict[tuple[str, bytes], tuple[Array, Ints]] = field(default_factory=dict)

    def of(self, population: str, boxes: Mapping[str, Ints]) -> tuple[Array, Array]:
        """(generation, reception) of every slice of a population, picoseconds, whole numbers in float64."""
        time, mine = self.target.time, boxes[population]
        received = box_sums(self.synops(population), mine)
        for projection in self._sent(self.network.into(population)):
            received = received + self.traffic(projection, mine)[0] * time.message_in
        message = time.message_out * flits(self.target, self.network[population].payload)
        each = time.spike_out + message * self.copies(population, boxes)
        size, active = self.network[population].size, self.load.active[population]
        idle = time.access * self.load.steps + round(time.update * active / size)
        return sizes(mine) * idle + box_sums(self.load.events[population] * each, mine), received

    def synops(self, population: str) -> Array:
        """Picoseconds of synaptic operations of every neuron."""
        if population not in self._synops:
            total = np.zeros(self.network[population].shape)
            for projection in self._sent(self.network.into(population)):
                weights, pre, post = self.network.between(projection)
                price = getattr(self.target.time.synop, str(projection.op.format))
                total = total + price * projection.op.received(weights, pre, post, self.load.events[projection.pre])
            self._synops[population] = total
        return self._synops[population]

    def copies(self, population: str, boxes: Mapping[str, Ints]) -> Array:
        """Messages of one event of every neuron."""
        found = np.zeros(self.network[population].shape)
        for projection in self._sent(self.network.out_of(population)):
            found = found + self.traffic(projection, boxes[projection.post])[1]
        return found

    def traffic(self, projection: Projection, boxes: Ints) -> tuple[Array, Ints]:
        """(messages that reach every box of the post population, boxes that every pre neuron reaches)."""
        key = projection.name, boxes.tobytes()
        if key not in self._traffic:
            between = self.network.between(projection)
            self._traffic[key] = projection.op.traffic(*between, boxes, self.load.events[projection.pre])
        return self._traffic[key]

    def messages(self, boxes: Mapping[str, Ints]) -> float:
        """Joules of all messages, hops left out."""
        energy, total = self.target.energy, 0.0
        for p in self.network.populations:
            sent = 0.0 if p.kind is Kind.INPUT else energy.message_out * flits(self.target, p.payload)
            copies = float((self.load.events[p.name] * self.copies(p.name, boxes)).sum())
            total += copies * (sent + energy.message_in)
        return total

    def joules(self, boxes: Mapping[str, Ints]) -> float:
        """Energy of the load's steps without static parts and hops."""
        energy, total = self.target.energy, self.messages(boxes)
        for p in self.network.computed:
            total += p.size * self.load.steps * energy.access + self.load.active[p.name] * energy.update
            total += float(self.load.events[p.name].sum()) * energy.spike_out
            for projection in self._sent(self.network.into(p.name)):
                weights, pre, post = self.network.between(projection)
                synops = projection.op.received(weights, pre, post, self.load.events[projection.pre]).sum()
                total += float(synops) * getattr(energy.synop, str(projection.op.format))
        return total

    @staticmethod
    def _sent(projections: tuple[Projection, ...]) -> list[Projection]:
        """Injected values are written by the host: no messages."""
        return [projection for projection in projections if not projection.op.injects]
