"""Totals of a run: per-neuron events times fan-out, messages between cores, hops. Integers over all samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.artifact import Artifact
from snnhw.chip.counts import Counts
from snnhw.chip.wiring import Fan, Link, Wiring
from snnhw.mapping.route import hops_between
from snnhw.network import Array, IntNeuron, Kind, Population


@dataclass(frozen=True)
class PopulationTally:
    """One population: events (non-zero spikes), payload (sum of |value|), active updates, wraps of u, clips of v; what
    its messages come to: their number, flits that cores send, hops and borders of these."""

    name: str
    kind: str
    neurons: int
    events: int
    payload: int
    active: int
    wraps: int
    clips: int
    messages: int
    flits: int
    hops_ew: int
    hops_ns: int
    crossings: int


@dataclass(frozen=True)
class ProjectionTally:
    """One projection: events that entered it and the synapses they reached.

    Args:
        format: 'dense', 'conv', 'sparse', or None for values the host injects (events, but no synops).
        synops: stored synapses reached, one per event and synapse whatever the payload.
        synops_nonzero: the same without synapses of weight zero.
        payload_synops: the same weighted by the magnitude of the event.
        graded: whether events carry more than 0 or 1.
        from_host: whether the events come from an input population.
    """

    name: str
    pre: str
    post: str
    format: str | None
    events: int
    synops: int
    synops_nonzero: int
    payload_synops: int
    graded: bool
    from_host: bool


@dataclass(frozen=True)
class Tally:
    """All totals.

    Args:
        traffic: `traffic[a, b]` is the number of messages from core index a to core index b, CSR int64.
        flits: the same of flits: a message that carries a payload has several, and hops and borders count them.
    """

    samples: int
    populations: tuple[PopulationTally, ...]
    projections: tuple[ProjectionTally, ...]
    accesses: int
    traffic: Any
    flits: Any
    host_messages: Array

    @property
    def core_flits(self) -> int:
        """Flits sent by cores."""
        return sum(p.flits for p in self.populations)

    @property
    def hops_ew(self) -> int:
        """Hops east and west."""
        return sum(p.hops_ew for p in self.populations)

    @property
    def hops_ns(self) -> int:
        """Hops north and south."""
        return sum(p.hops_ns for p in self.populations)

    @property
    def chip_crossings(self) -> int:
        """Borders between chips crossed."""
        return sum(p.crossings for p in self.populations)

    @property
    def active(self) -> int:
        """Active neuron updates."""
        return sum(p.active for p in self.populations)

    @property
    def synops(self) -> int:
        """Synaptic operations of all projections."""
        return sum(p.synops for p in self.projections)

    @property
    def spikes(self) -> int:
        """Events of all neurons on the chip."""
        return sum(p.events for p in self.populations if p.kind != Kind.INPUT)

    @property
    def core_messages(self) -> int:
        """Messages between (and within) cores."""
        return int(self.traffic.sum())

    @property
    def messages(self) -> int:
        """All messages that arrive at cores, those from the host included."""
        return self.core_messages + int(self.host_messages.sum())

    @property
    def saturations(self) -> int:
        """Wraps of u plus clips of v."""
        return sum(p.wraps + p.clips for p in self.populations)

    def synops_of(self, format_: str) -> int:
        """Synaptic operations in one synapse format."""
        return sum(p.synops for p in self.projections if p.format == format_)


def tally(artifact: Artifact, wiring: Wiring, counts: Counts) -> Tally:
    """Totals from per-neuron counts."""
    network, cores = artifact.network, len(wiring.cores)
    sent = {p.name: _sent(wiring.fans[p.name], counts.events[p.name], cores) for p in network.populations}
    flits = {name: pairs[1:] * wiring.fans[name].flits for name, pairs in sent.items()}
    messages = sum(sent.values(), sparse.csr_matrix((cores + 1, cores), dtype=np.int64))
    return Tally(
        samples=counts.samples,
        populations=tuple(
            _population(p, counts, wiring, artifact, sent[p.name], flits[p.name]) for p in network.populations
        ),
        projections=tuple(_projection(link, network[link.projection.pre], wiring, counts) for link in wiring.links),
        accesses=counts.samples * network.steps * sum(p.size for p in network.computed),
        traffic=messages[1:],
        flits=sum(flits.values(), sparse.csr_matrix((cores, cores), dtype=np.int64)),
        host_messages=messages[0].toarray().ravel(),
    )


def _sent(fan: Fan, events: Array, cores: int) -> Any:
    """Messages of a population, CSR (1 + cores, cores); the first row is the host: home is -1."""
    pairs = fan.touched.tocoo()
    number = fan.total(events)[pairs.row] * pairs.data
    return sparse.csr_matrix((number, (fan.home[pairs.row] + 1, pairs.col)), shape=(cores + 1, cores), dtype=np.int64)


def _population(
    p: Population[IntNeuron], counts: Counts, wiring: Wiring, artifact: Artifact, sent: Any, flits: Any
) -> PopulationTally:
    events, payload = int(counts.events[p.name].sum()), int(counts.magnitude[p.name].sum())
    pairs = flits.tocoo()
    ways = hops_between(wiring.cores[pairs.row], wiring.cores[pairs.col], artifact.target)
    return PopulationTally(
        p.name, str(p.kind), p.size, events, payload, counts.active[p.name], counts.wraps[p.name], counts.clips[p.name],
        int(sent.sum()), int(pairs.data.sum()), *(int(pairs.data @ way) for way in ways),
    )  # fmt: skip


def _projection(link: Link, pre: Population[IntNeuron], wiring: Wiring, counts: Counts) -> ProjectionTally:
    q, stored, total = link.projection, link.stored, wiring.fans[pre.name].total
    events, magnitude = counts.events[pre.name], counts.magnitude[pre.name]
    synops = int(total(events) @ stored)
    return ProjectionTally(
        q.name, q.pre, q.post, link.format, int(events.sum()), synops,
        synops if link.nonzero is None else int(events @ link.nonzero),
        int(total(magnitude) @ stored), pre.payload != (0, 1), pre.kind is Kind.INPUT,
    )  # fmt: skip
