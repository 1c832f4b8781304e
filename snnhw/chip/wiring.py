"""Which cores every spike reaches, and through how many synapses: the network seen from its mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.artifact import Artifact
from snnhw.mapping.types import Mapping, Slice
from snnhw.network import Array, Network, Projection

BLOCK = 1 << 23
"""Entries of a temporary array when many slices are followed backwards at once."""


@dataclass(frozen=True)
class Link:
    """One projection as counts.

    Args:
        format: 'dense', 'conv' or 'sparse' (one-to-one counts as sparse); None for injected values.
        stored: stored synapses one spike of each pre neuron reaches, int64 (N,); border aware.
        nonzero: the same without synapses of weight zero.
        by_core: CSR int64 (N, cores): `stored`, split by destination core.
    """

    projection: Projection
    format: str | None
    stored: Array
    nonzero: Array
    by_core: Any


@dataclass(frozen=True)
class Wiring:
    """All projections over the cores in use.

    Args:
        cores: global numbers of the cores in use, ascending; everything below indexes into them.
        links: in the order of the network's projections.
        home: population -> core index of every neuron (N,), -1 for inputs (they live on the host).
        touched: population -> CSR (N, cores) of 0/1: destination cores of one spike, over all projections.
    """

    cores: Array
    links: tuple[Link, ...]
    home: dict[str, Array]
    touched: dict[str, Any]

    def out_of(self, population: str) -> tuple[Link, ...]:
        """Links that start at a population."""
        return tuple(link for link in self.links if link.projection.pre == population)


def wire(artifact: Artifact) -> Wiring:
    """The wiring of a mapped network."""
    network, mapping = artifact.network, artifact.mapping
    cores = np.array(sorted({s.core for s in mapping.slices}), np.int64)
    links = tuple(_link(projection, network, mapping, cores) for projection in network.projections)
    home = {}
    for p in network.populations:
        placed = mapping.core_map(p.name, p.shape).ravel()
        home[p.name] = np.where(placed < 0, -1, np.searchsorted(cores, placed)).astype(np.int32)
    touched = {}
    for p in network.populations:
        touched[p.name] = _touched([x for x in links if x.projection.pre == p.name], p.size, len(cores))
    return Wiring(cores, links, home, touched)


def _link(projection: Projection, network: Network[Any], mapping: Mapping, cores: Array) -> Link:
    pre = network[projection.pre]
    if projection.op.injects:
        none = np.zeros(pre.size, np.int64)
        return Link(projection, None, none, none, sparse.csr_matrix((pre.size, len(cores)), dtype=np.int64))
    blocks = list(_blocks(projection, network, mapping.of(projection.post), cores))
    by_core = sparse.csr_matrix(sum(blocks[1:], blocks[0]), dtype=np.int64)
    stored = np.asarray(by_core.sum(axis=1), np.int64).ravel()
    nonzero = projection.op.fan_out(*network.between(projection), nonzero=True).ravel()
    return Link(projection, projection.op.format, stored, nonzero, by_core)


def _blocks(projection: Projection, network: Network[Any], slices: tuple[Slice, ...], cores: Array) -> Iterator[Any]:
    """Synapse counts per (pre neuron, core) of some slices at a time, CSR (N, cores)."""
    pre, post = network[projection.pre], network[projection.post]
    size = max(1, BLOCK // max(pre.size, post.size))
    for first in range(0, len(slices), size):
        part = slices[first : first + size]
        marks = np.zeros((len(part), *post.shape))
        for mark, piece in zip(marks, part, strict=True):
            mark[piece.where] = 1
        counts = projection.op.reached(network.weights, marks, pre.shape)
        at = np.searchsorted(cores, [piece.core for piece in part])
        gather = sparse.csr_matrix((np.ones(len(part)), (np.arange(len(part)), at)), shape=(len(part), len(cores)))
        yield sparse.csr_matrix(sparse.csr_matrix(counts.T) @ gather)


def _touched(links: list[Link], size: int, cores: int) -> Any:
    total = sparse.csr_matrix((size, cores), dtype=np.int64)
    for link in links:
        total = total + link.by_core
    total = sparse.csr_matrix(total)
    total.sum_duplicates()
    total.eliminate_zeros()
    return sparse.csr_matrix((np.ones_like(total.data), total.indices, total.indptr), shape=total.shape)
