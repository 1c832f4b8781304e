"""Spikes of one sample in both networks, of a few evenly spaced neurons of every spiking population: for a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw.comparison.tree import Raster
from snnhw.engines.base import Needs, Record
from snnhw.network import Array, IntNeuron, Kind, Network, Population

NEURONS = 48
"""Neurons shown of each population."""


class RasterObserver:
    """Keeps the spikes of one sample.

    Args:
        sample: its place in the run, from 0.
    """

    def __init__(self, network: Network[IntNeuron], sample: int = 0) -> None:
        self.network, self.sample = network, sample
        self.needs = Needs(frozenset(p.name for p in network.populations if p.kind is not Kind.ACCUMULATOR))
        self._found: dict[str, Array] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Look at the chunk that the sample is in."""
        if population in self.needs.spikes:
            spikes = record.get("spikes", population)
            if first_sample <= self.sample < first_sample + len(spikes):
                self._found[population] = spikes[self.sample - first_sample].copy()

    def rasters(self, floats: Mapping[str, Array]) -> tuple[Raster, ...]:
        """In topological order, beside the float network's spikes (1, T, ...) of the same sample."""
        made = []
        for p in self.network.populations:
            if p.name in self._found:
                shown = np.unique(np.linspace(0, p.size - 1, min(NEURONS, p.size)).round().astype(np.int64))
                there = _pairs(floats[p.name][0], p, shown) if p.name in floats else None
                neurons = tuple(int(n) for n in shown)
                made.append(Raster(p.name, neurons, _pairs(self._found[p.name], p, shown), there))
        return tuple(made)


def _pairs(spikes: Array, p: Population[IntNeuron], shown: Array) -> tuple[tuple[int, int], ...]:
    """(step, neuron) of what is not zero; spikes (T, ...)."""
    events = np.argwhere(spikes.reshape(len(spikes), p.size)[:, shown] != 0)
    return tuple((int(step), int(shown[row])) for step, row in events)
