"""From events to the work of cores: per-event costs by class of neurons, collected population by population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.artifact import Artifact
from snnhw.chip.analytic import barrier, no_times, sample_times, steady, tiles_in_use
from snnhw.chip.wiring import Wiring
from snnhw.machine import Machine
from snnhw.network import Array


@dataclass(frozen=True)
class Cost:
    """What one event of each class of neurons costs, and where the population's neurons live.

    Neurons of one class sit on one core and load every destination core alike, so events are counted per class.

    Args:
        labels: class of every neuron, int32 (N,).
        send: picoseconds of generation per event, CSR int64 (cores, classes).
        receive: picoseconds of reception per event, CSR int64 (cores, classes).
        slot: index into `at` of every neuron's core, int32 (N,).
        at: core indices the population lives on; empty for inputs.
    """

    labels: Array
    send: Any
    receive: Any
    slot: Array
    at: Array

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.receive.shape[1])


class Loads:
    """Collects the work of a chunk of samples and adds up its times once all populations have been seen.

    Args:
        target: whose times are charged.
    """

    def __init__(self, artifact: Artifact, wiring: Wiring, target: Machine) -> None:
        network, cores = artifact.network, len(wiring.cores)
        self.network = network
        self.costs = {p.name: cost_of(p.name, wiring, target) for p in network.populations}
        self.update = target.time.update
        self.idle, self.waiting = np.zeros(cores, np.int64), np.zeros((network.depth + network.steps, cores), np.int64)
        for p in network.computed:
            fan = wiring.fans[p.name]
            neurons, driven = (
                np.bincount(fan.home, fan.total(each), cores).astype(np.int64)
                for each in (np.ones(p.size), np.broadcast_to(p.model.bias != 0, p.shape).ravel())
            )
            self.idle += neurons * target.time.access
            self.waiting += driven * target.time.update
            self.waiting[p.start : p.start + network.steps] -= driven * target.time.update
        self.sync = barrier(target, tiles_in_use(wiring.cores, target), artifact.mapping.chips).picoseconds
        self.times = no_times(cores)
        self.steps: list[Array] = []
        """Of every chunk, for each of the T steps of the stream and each sample: longest generation, longest reception,
        and the core (index) that is waited for; int64 (3, B, T)."""
        self._loads: Array | None = None
        self._seen = 0

    def add(self, population: str, histogram: Array, active: Array) -> None:
        """Events (B, T, classes) and active updates (B, T, population's cores) of one population of the chunk."""
        cost, start, steps = self.costs[population], self.network[population].start, self.network.steps
        size, events = histogram.shape[:2], histogram.reshape(-1, cost.classes).T
        if self._loads is None:
            self._loads = np.zeros((2, size[0], self.network.depth + steps, len(self.idle)), np.int64)
        now = self._loads[:, :, start : start + steps]
        for side, each in enumerate((cost.send, cost.receive)):
            now[side] += (each @ events).T.reshape(*size, -1)
        now[0][..., cost.at] += active * self.update
        self._seen += 1
        if self._seen == len(self.network.populations):
            self.finish(self._loads)
            self._loads, self._seen = None, 0

    def finish(self, loads: Array) -> None:
        """Adds up the times of a chunk whose work is known (`analytic.sample_times`)."""
        stream = steady(loads, self.network.steps)
        stream[0] += self.idle
        longest = stream.max(axis=3)
        core = stream.max(axis=0).argmax(axis=2)
        self.steps.append(np.concatenate([longest, core[None]]))
        self.times = self.times + sample_times(loads, stream, self.idle + self.waiting, self.sync)


def cost_of(population: str, wiring: Wiring, target: Machine) -> Cost:
    """Per-event costs of a population, by its classes of neurons."""
    fan = wiring.fans[population]
    receive = fan.touched * target.time.message_in
    for link in wiring.out_of(population):
        if link.format is not None:
            receive = receive + link.by_core * getattr(target.time.synop, link.format)
    on_chip = np.flatnonzero(fan.home >= 0)  # inputs are sent by the host, which is not the chip's time
    each = target.time.spike_out + fan.messages * fan.flits * target.time.message_out
    ends = fan.home[on_chip], on_chip
    send = sparse.csr_matrix((each[on_chip], ends), shape=receive.shape[::-1], dtype=np.int64)
    at, slot = np.unique(fan.home[on_chip], return_inverse=True)
    slots = np.zeros(len(fan.home), np.int32)
    slots[on_chip] = slot
    return Cost(fan.labels, send, sparse.csr_matrix(receive.T, dtype=np.int64), slots[fan.labels], at)
