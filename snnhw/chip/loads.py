"""From events to the work of cores: per-event costs by class of neurons, collected population by population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Work, no_times, sample_times, sync_time, tiles_in_use
from snnhw.chip.wiring import Wiring
from snnhw.machine import Machine
from snnhw.network import Array


@dataclass(frozen=True)
class Cost:
    """What one event of each class of neurons costs, and where the population's neurons live.

    Neurons of one class sit on one core and load every destination core alike, so events are counted per class.

    Args:
        labels: class of every neuron, int32 (N,).
        send: picoseconds of generation per event, (classes, cores); exact integers held in float64 for fast products.
        receive: picoseconds of reception per event, (classes, cores).
        slot: index into `at` of every neuron's core, int32 (N,).
        at: core indices the population lives on; empty for inputs.
    """

    labels: Array
    send: Array
    receive: Array
    slot: Array
    at: Array

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.receive)


class Loads:
    """Collects the work of a chunk of samples and adds up its times once all populations have been seen."""

    def __init__(self, artifact: Artifact, wiring: Wiring) -> None:
        target, cores = artifact.target, len(wiring.cores)
        self.network = artifact.network
        self.costs = {p.name: cost_of(p.name, wiring, target) for p in self.network.populations}
        self.update = target.time.update
        homes = np.concatenate([wiring.home[p.name] for p in self.network.computed])
        self.idle = np.bincount(homes, minlength=cores) * target.time.access
        self.sync = sync_time(target, tiles_in_use(wiring.cores, target), artifact.mapping.chips)
        self.times = no_times(cores)
        self._work: Work = {}

    def add(self, population: str, histogram: Array, active: Array) -> None:
        """Events (B, T, classes) and active updates (B, T, population's cores) of one population of the chunk."""
        cost = self.costs[population]
        events = histogram.astype(np.float64)  # products stay exact: a step's picoseconds are far below 2**53
        generation = np.rint(events @ cost.send).astype(np.int64)
        generation[..., cost.at] += active * self.update
        self._work[population] = generation, np.rint(events @ cost.receive).astype(np.int64)
        if len(self._work) == len(self.network.populations):
            self.times = self.times + sample_times(self.network, self._work, self.idle, self.sync)
            self._work = {}


def cost_of(population: str, wiring: Wiring, target: Machine) -> Cost:
    """Per-event costs of a population, its neurons grouped into classes of equal cost."""
    home, touched = wiring.home[population], wiring.touched[population]
    receive = touched * target.time.message_in
    for link in wiring.out_of(population):
        if link.format is not None:
            receive = receive + link.by_core * getattr(target.time.synop, link.format)
    messages = np.diff(touched.indptr)
    labels, first = _classes(receive, home, messages)
    rows = np.asarray(receive[first].toarray(), np.float64)
    send = np.zeros_like(rows)
    on_chip = home[first] >= 0  # inputs are sent by the host, which is not the chip's time
    each = target.time.spike_out + messages[first] * target.time.message_out
    send[np.flatnonzero(on_chip), home[first][on_chip]] = each[on_chip]
    at = np.unique(home[home >= 0])
    return Cost(labels, send, rows, np.searchsorted(at, home).astype(np.int32), at)


def _classes(receive: Any, home: Array, messages: Array) -> tuple[Array, Array]:
    """Label of every neuron, and the first neuron of every label; equal label means equal row, home and messages."""
    receive = receive.tocsr()
    receive.sort_indices()
    index, data, ends = receive.indices, receive.data, receive.indptr
    known: dict[tuple[int, int, bytes, bytes], int] = {}
    labels = np.empty(len(home), np.int32)
    first: list[int] = []
    for n in range(len(home)):
        row = slice(ends[n], ends[n + 1])
        key = int(home[n]), int(messages[n]), index[row].tobytes(), data[row].tobytes()
        label = known.setdefault(key, len(known))
        if label == len(first):
            first.append(n)
        labels[n] = label
    return labels, np.array(first, np.int64)
