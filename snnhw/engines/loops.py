"""Populations that feed back into each other: the one place where the fast engine goes step by step.

Everything that comes from outside the loop is summed over all steps at once, as elsewhere. Inside it a step of all
members follows the last; feedback reads what was sent `lag` steps before, nothing in a sample's first steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw import fixed
from snnhw.engines.base import Record
from snnhw.engines.kernels import at_rest, flat, room, update
from snnhw.engines.synapses import grouped
from snnhw.network import Array, IntNeuron, Kind, Network


class Loop:
    """One group of `Network.components` that feeds back."""

    def __init__(self, network: Network[IntNeuron], names: tuple[str, ...], widths: fixed.Widths = fixed.LOIHI) -> None:
        self.widths = widths
        self.members = tuple(network[name] for name in names)
        self.steps = network.steps
        into = {name: network.into(name) for name in names}
        self.outside, self.inside = (
            {p.name: grouped(network, p, [q for q in into[p.name] if (q.pre in names) is own]) for p in self.members}
            for own in (False, True)
        )

    def run(self, values: Mapping[str, Array], batch: int) -> dict[str, Record]:
        """Records of all members from the spikes of the populations before the loop."""
        driven = {p.name: self._from_outside(p.name, values, batch) for p in self.members}
        neurons = {p.name: flat(p.model, p.shape) for p in self.members}
        states = {p.name: at_rest(neurons[p.name], batch, p.size) for p in self.members}
        kept = {p.name: room(p.model, (batch, self.steps, p.size)) for p in self.members}
        sent = {p.name: kept[p.name][0].reshape(batch, self.steps, *p.shape) for p in self.members}
        counts = {p.name: np.zeros(2, np.int64) for p in self.members}
        for t in range(self.steps):
            for p in self.members:
                a = driven[p.name][:, t : t + 1]
                for group in self.inside[p.name]:
                    if t >= group.projection.lag:
                        now = {name: sent[name][:, t - group.projection.lag, None] for name in group.pres}
                        a = a + group.sums(group.added(now), p).reshape(batch, 1, p.size)
                fires = p.kind is not Kind.ACCUMULATOR
                *found, wraps, clips = update(neurons[p.name], fires, a, states[p.name], self.widths)
                for whole, part in zip(kept[p.name], found, strict=True):
                    whole[:, t] = part[:, 0]
                counts[p.name] += (wraps, clips)
        return {p.name: _record(kept[p.name], counts[p.name], p.shape) for p in self.members}

    def _from_outside(self, name: str, values: Mapping[str, Array], batch: int) -> Array:
        """Summed input (B, T, N) from the populations before the loop."""
        population = next(p for p in self.members if p.name == name)
        total: Array = np.zeros((batch, self.steps, *population.shape), np.int64)
        for group in self.outside[name]:
            total = total + group.arriving(values, population)
        return total.reshape(batch, self.steps, population.size)


def _record(kept: tuple[Array, Array, Array], counts: Array, shape: tuple[int, ...]) -> Record:
    spikes, u, v = (x.reshape(*x.shape[:2], *shape) for x in kept)
    return Record(spikes, u, v, int(counts[0]), int(counts[1]))
