"""What each population spends, and how long the chip waits for it.

A population is charged its neurons, the synapses it is reached through, and the messages it sends (their reception and
hops too); an input only its messages. A step's time is that of one core; populations on it share that by their work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times
from snnhw.chip.band import ZERO, Band, band_of
from snnhw.chip.counts import Counts
from snnhw.chip.loads import Cost
from snnhw.chip.tally import PopulationTally, Tally
from snnhw.chip.wiring import Wiring
from snnhw.network import Array, Kind


def spent(artifact: Artifact, total: Tally) -> dict[str, Band]:
    """Joules of each population per sample; they add up to the parts of `energy` that are not static."""
    target = artifact.target
    found = {}
    for p in total.populations:
        band = ZERO
        for key, count in _operations(p, total, artifact.network.steps):
            if key in target.constants and count:
                band = band + band_of(target.constant(key)) * (count / total.samples)
        found[p.name] = band
    return found


def _operations(p: PopulationTally, total: Tally, steps: int) -> list[tuple[str, int]]:
    """Keys of constants and the run's operations."""
    rows = [("energy.message_in", p.messages)]
    if p.kind != Kind.INPUT:
        rows += [
            ("energy.access", p.neurons * steps * total.samples),
            ("energy.update", p.active),
            ("energy.spike_out", p.events),
            ("energy.message_out", p.flits),
            ("energy.hop_ew", p.hops_ew),
            ("energy.hop_ns", p.hops_ns),
            ("energy.border", p.crossings),
        ]
    into = [q for q in total.projections if q.post == p.name and q.format is not None]
    return rows + [(f"energy.synop.{q.format}", q.synops) for q in into]


@dataclass(frozen=True)
class CoreWork:
    """What cores did in a run, (cores,) each; messages and synops are those received, `updates` all accesses.

    Args:
        seconds: kind of work -> time that it took the core (`KINDS`).
        joules: likely energy without static parts and hops.
    """

    synops: Array
    updates: Array
    messages: Array
    sent: Array
    seconds: dict[str, Array]
    joules: Array


KINDS = {
    "synops": "synaptic operations",
    "messages": "messages that arrive",
    "updates": "neuron updates",
    "sent": "spikes and messages that leave",
}
"""Kinds of work of a core; the first two are received, the others generated."""


def core_work(artifact: Artifact, wiring: Wiring, counts: Counts, total: Tally) -> CoreWork:
    """Operations of each core over a run."""
    time, energy, cores = artifact.target.time, artifact.target.energy, len(wiring.cores)
    synops, updates, active, spikes = (np.zeros(cores, np.int64) for _ in range(4))
    seconds, joules = np.zeros(cores), np.zeros(cores)
    for link in wiring.links:
        if link.format is not None:
            fan = wiring.fans[link.projection.pre]
            reached = np.asarray(link.by_core.T @ fan.total(counts.events[link.projection.pre]), np.int64)
            synops += reached
            seconds += reached * (getattr(time.synop, link.format) / 1e12)
            joules += reached * getattr(energy.synop, link.format)
    for p in artifact.network.computed:
        held = _held(wiring, p.name, np.ones(p.size), cores)
        updates += held * (artifact.network.steps * counts.samples)
        active += held * counts.active[p.name] // p.size
        spikes += _held(wiring, p.name, counts.events[p.name], cores)
    received = np.asarray(total.traffic.sum(axis=0), np.int64).ravel() + total.host_messages
    sent = np.asarray(total.flits.sum(axis=1), np.int64).ravel()
    joules += updates * energy.access + active * energy.update + spikes * energy.spike_out
    joules += received * energy.message_in + sent * energy.message_out
    taken = {
        "synops": seconds,
        "messages": received * (time.message_in / 1e12),
        "updates": (updates * time.access + active * time.update) / 1e12,
        "sent": (spikes * time.spike_out + sent * time.message_out) / 1e12,
    }
    return CoreWork(synops, updates, received, sent, taken, joules)


def _held(wiring: Wiring, population: str, each: Array, cores: int) -> Array:
    """Sums over the neurons of a population on each core of whole numbers (N,)."""
    fan = wiring.fans[population]
    return np.bincount(fan.home, fan.total(each), cores).astype(np.int64)


def critical(
    artifact: Artifact, wiring: Wiring, counts: Counts, costs: dict[str, Cost], times: Times
) -> dict[str, float]:
    """Picoseconds of each population, summed over samples, in which the chip waited for it; barriers apart."""
    work = {p.name: _work(artifact, wiring, counts, costs, p.name) for p in artifact.network.computed}
    whole = np.maximum(sum(work.values(), np.zeros_like(times.critical, np.float64)), 1e-9)
    return {name: float((times.critical * mine / whole).sum()) for name, mine in work.items()}


def _work(artifact: Artifact, wiring: Wiring, counts: Counts, costs: dict[str, Cost], name: str) -> Array:
    """Picoseconds of generation and reception of a population on each core, over a run, float64 (2, cores)."""
    network, time, cores = artifact.network, artifact.target.time, len(wiring.cores)
    found, p = np.zeros((2, cores)), network[name]
    each = time.access * network.steps * counts.samples + time.update * counts.active[name] / p.size
    found[0] = _held(wiring, name, np.ones(p.size), cores) * each
    found[0] += costs[name].send @ wiring.fans[name].total(counts.events[name])
    for link in wiring.links:
        if link.projection.post == name and link.format is not None:
            events = wiring.fans[link.projection.pre].total(counts.events[link.projection.pre])
            price = getattr(time.synop, link.format)
            found[1] += link.by_core.T @ events * price + link.axons.T @ events * time.message_in
    return found
