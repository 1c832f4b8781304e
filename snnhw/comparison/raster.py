"""Spikes of the first sample, of a few evenly spaced neurons of every spiking population: for a picture."""

from __future__ import annotations

import numpy as np

from snnhw.comparison.tree import Raster
from snnhw.engines.base import Needs, Record
from snnhw.network import IntNeuron, Kind, Network

NEURONS = 48
"""Neurons shown of each population."""


class RasterObserver:
    """Keeps the spikes of sample 0."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.network = network
        self.needs = Needs(frozenset(p.name for p in network.populations if p.kind is not Kind.ACCUMULATOR))
        self._found: dict[str, Raster] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Look at the first chunk only."""
        p = self.network[population]
        if first_sample != 0 or p.kind is Kind.ACCUMULATOR:
            return
        spikes = record.get("spikes", population)
        if not len(spikes):
            return
        shown = np.unique(np.linspace(0, p.size - 1, min(NEURONS, p.size)).round().astype(np.int64))
        events = np.argwhere(spikes[0].reshape(self.network.steps, p.size)[:, shown] != 0)
        pairs = tuple((int(step), int(shown[row])) for step, row in events)
        self._found[population] = Raster(population, tuple(int(n) for n in shown), pairs)

    @property
    def rasters(self) -> tuple[Raster, ...]:
        """In topological order."""
        return tuple(self._found[p.name] for p in self.network.populations if p.name in self._found)
