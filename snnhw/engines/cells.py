"""The neurons of one population in the fast engine: their state, and of what they do only what is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from snnhw import fixed
from snnhw.engines.base import Needs, Record, noted
from snnhw.engines.kernels import at_rest, flat, update
from snnhw.network import Array, IntNeuron, Kind, Population


class Found(NamedTuple):
    """What some steps gave: arrays (B, k, N), `active` (B, k, labels)."""

    spikes: Array
    state: dict[str, Array]
    overflows: dict[str, int]
    active: Array | None


class Cells:
    """One population; `held` is its states and the spikes of the last step, (states + 1, B, N)."""

    held: Array

    def __init__(self, population: Population[IntNeuron], needs: Needs, widths: fixed.Widths) -> None:
        self.population, self.needs, self.widths = population, needs, widths
        self.neuron = flat(population.model, population.shape)
        self.fires = population.kind is not Kind.ACCUMULATOR
        self.wanted = needs.state.get(population.name, frozenset())
        self.labels = needs.active.get(population.name)

    def begin(self, batch: int) -> None:
        """Start samples at rest."""
        self.held = at_rest(self.neuron, batch, self.population.size)

    def update(self, a: Array) -> Found:
        """Move on by the steps of the summed input a (B, k, N)."""
        found = update(self.neuron, self.fires, a, self.held, self.widths, self.wanted, self.labels)
        kept = {name: x for name, x in found.state.items() if name in self.wanted}
        return Found(found.spikes, kept, found.overflows, None if self.labels is None else found.active)

    def record(self, found: Found) -> tuple[Array, Record]:
        """Spikes for the populations that read them, and the record, both (B, k, *shape)."""
        shape = (*found.spikes.shape[:2], *self.population.shape)
        spikes = found.spikes.reshape(shape)
        state: Mapping[str, Array] = {name: x.reshape(shape) for name, x in found.state.items()}
        record = noted(self.needs, self.population, spikes, state=state, overflows=found.overflows, active=found.active)
        return spikes, record


def joined(steps: Sequence[Found]) -> Found:
    """What followed each other, as one."""
    counted = [step.active for step in steps if step.active is not None]
    return Found(
        np.concatenate([step.spikes for step in steps], axis=1),
        {name: np.concatenate([step.state[name] for step in steps], axis=1) for name in steps[0].state},
        {name: sum(step.overflows[name] for step in steps) for name in steps[0].overflows},
        np.concatenate(counted, axis=1) if counted else None,
    )
