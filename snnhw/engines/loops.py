"""Populations that feed back into each other: the one place where the fast engine goes step by step.

Everything that comes from outside the loop is summed over all steps at once, as elsewhere. Inside it a step of all
members follows the last; feedback reads what was sent `lag` steps before, nothing in a sample's first steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw.engines.base import Record
from snnhw.engines.cells import Cells, Found, joined
from snnhw.engines.synapses import grouped
from snnhw.network import Array, IntNeuron, Network, Population


class Loop:
    """One group of `Network.components` that feeds back."""

    def __init__(self, network: Network[IntNeuron], names: tuple[str, ...], cells: Mapping[str, Cells]) -> None:
        self.members = tuple(network[name] for name in names)
        self.cells = cells
        into = {name: network.into(name) for name in names}
        self.outside, self.inside = (
            {p.name: grouped(network, p, [q for q in into[p.name] if (q.pre in names) is own]) for p in self.members}
            for own in (False, True)
        )

    def run(
        self, values: Mapping[str, Array], past: Mapping[str, Array], size: tuple[int, int]
    ) -> dict[str, tuple[Array, Record]]:
        """Spikes and records of all members from the spikes of the populations before the loop.

        Args:
            past: spikes of earlier steps, oldest first, (B, depth, *shape), of what is read late.
            size: samples and steps.
        """
        driven = {p.name: self._from_outside(p, values, past, size) for p in self.members}
        earlier = {p.name: past[p.name] if p.name in past else np.zeros((size[0], 0, *p.shape)) for p in self.members}
        sent: dict[str, list[Array]] = {name: list(spikes.swapaxes(0, 1)) for name, spikes in earlier.items()}
        found: dict[str, list[Found]] = {name: [self.cells[name].update(a[:, :0])] for name, a in driven.items()}
        for t in range(size[1]):
            for p in self.members:
                a = driven[p.name][:, t : t + 1]
                for group in self.inside[p.name]:
                    lag = group.projection.lag
                    now = {name: sent[name][earlier[name].shape[1] + t - lag][:, None] for name in group.pres}
                    a = a + group.sums(group.added(now), p).reshape(size[0], 1, p.size)
                step = self.cells[p.name].update(a)
                sent[p.name].append(step.spikes.reshape(size[0], *p.shape))
                found[p.name].append(step)
        return {name: self.cells[name].record(joined(steps)) for name, steps in found.items()}

    def _from_outside(
        self,
        population: Population[IntNeuron],
        values: Mapping[str, Array],
        past: Mapping[str, Array],
        size: tuple[int, int],
    ) -> Array:
        """Summed input (B, k, N) from the populations before the loop."""
        total: Array = np.zeros((*size, *population.shape), np.int64)
        for group in self.outside[population.name]:
            total = total + group.arriving(values, past, population)
        return total.reshape(*size, population.size)
