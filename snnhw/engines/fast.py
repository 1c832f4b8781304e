"""The default engine: layer by layer over all sample steps, many samples at once; loops step by step.

It has no chip steps, no delays and no start steps; that it equals the reference engine proves the schedule.
Synapses are `synapses.py`, exact products in floating point; neurons are `kernels.py`, feedback is `loops.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from snnhw import fixed
from snnhw.artifact import Artifact
from snnhw.engines.base import Observer, Record
from snnhw.engines.kernels import flat, update
from snnhw.engines.loops import Loop
from snnhw.engines.synapses import Synapses, grouped
from snnhw.network import Array, IntNeuron, Kind, Network, Population


class FastEngine:
    """Batched and layer-synchronous (docs/design.md §5)."""

    name = "fast"

    def run(self, artifact: Artifact, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run each chunk as one batch; chunks are independent because samples are."""
        plan = Plan(artifact.network, artifact.target.widths)
        first = 0
        for chunk in chunks:
            for population, record in plan.run(chunk):
                for observer in observers:
                    observer.observe(first, population, record)
            first += next(iter(chunk.values())).shape[0]


class Plan:
    """A network made ready to run: synapses grouped, weights in the float type that is exact for them."""

    def __init__(self, network: Network[IntNeuron], widths: fixed.Widths = fixed.LOIHI) -> None:
        self.network, self.widths = network, widths
        looping = [names for names in network.components if _feeds_back(network, names)]
        self.loops = {names: Loop(network, names, widths) for names in looping}
        looped = {name for names in self.loops for name in names}
        self.groups: dict[str, tuple[Synapses, ...]] = {
            p.name: grouped(network, p, network.into(p.name)) for p in network.computed if p.name not in looped
        }
        place = {name: i for i, names in enumerate(network.components) for name in names}
        self.last_use = {name: max((place[q.post] for q in network.out_of(name)), default=-1) for name in place}

    def run(self, chunk: Mapping[str, Array]) -> Iterable[tuple[str, Record]]:
        """Records of all populations for one batch, each behind those it reads."""
        values: dict[str, Array] = {}
        batch = len(next(iter(chunk.values())))
        for i, names in enumerate(self.network.components):
            if names in self.loops:
                records = self.loops[names].run(values, batch)
            else:
                records = {name: self._alone(self.network[name], chunk, values, batch) for name in names}
            for name, record in records.items():
                values[name] = record.spikes
                yield name, record
            for name in [name for name in values if self.last_use[name] <= i]:
                del values[name]

    def _alone(
        self, population: Population[IntNeuron], chunk: Mapping[str, Array], values: Mapping[str, Array], batch: int
    ) -> Record:
        """One population over all steps."""
        if population.kind is Kind.INPUT:
            return Record(np.asarray(chunk[population.name]))
        total: Array | None = None
        for group in self.groups[population.name]:
            part = group.arriving(values, population)
            total = part if total is None else total + part
        steps, size = self.network.steps, population.size
        arrived = np.zeros((batch, steps, size), np.int64) if total is None else total.reshape(batch, steps, size)
        fires = population.kind is not Kind.ACCUMULATOR
        spikes, u, v, wraps, clips = update(
            flat(population.model, population.shape), fires, arrived, widths=self.widths
        )
        shape = (batch, steps, *population.shape)
        return Record(spikes.reshape(shape), u.reshape(shape), v.reshape(shape), wraps, clips)


def _feeds_back(network: Network[IntNeuron], names: tuple[str, ...]) -> bool:
    """Whether a group of populations reads itself."""
    return len(names) > 1 or any(q.pre in names for q in network.into(names[0]))
