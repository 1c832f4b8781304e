"""Which cores every spike reaches, and through how many synapses: the network seen from its mapping.

Neurons of one class sit on one core and have as many synapses into each core. Classes follow from the boxes of the
mapping (`Operator.spread`), so that the work here grows with boxes and not with neurons times cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.artifact import Artifact
from snnhw.mapping.load import flits
from snnhw.mapping.types import Slice
from snnhw.network import Array, Network, Population, Projection


@dataclass(frozen=True)
class Link:
    """One projection as counts.

    Args:
        format: 'dense', 'conv' or 'sparse' (one-to-one counts as sparse); None for injected values.
        by_core: CSR int64 (classes of the pre population, cores): stored synapses that one spike reaches; border aware.
        axons: CSR int64, the same of the slices that it reaches.
        nonzero: those of each pre neuron that are not of weight zero, int64 (N,); None where none is.
    """

    projection: Projection
    format: str | None
    by_core: Any
    axons: Any
    nonzero: Array | None

    @property
    def stored(self) -> Array:
        """Stored synapses one spike of each class reaches, int64 (classes,)."""
        return np.asarray(self.by_core.sum(axis=1), np.int64).ravel()


@dataclass(frozen=True)
class Fan:
    """The neurons of one population in classes.

    Args:
        labels: class of every neuron, int32 (N,).
        home: core index of each class, int64 (classes,); -1 for inputs (they live on the host).
        touched: CSR int64 (classes, cores): messages of one spike to each core, over all projections; one for each axon
            where the target sends so, else one for a core.
        flits: flits of one message.
    """

    labels: Array
    home: Array
    touched: Any
    flits: int

    @property
    def messages(self) -> Array:
        """Messages of one spike of each class, int64 (classes,)."""
        return np.asarray(self.touched.sum(axis=1), np.int64).ravel()

    def total(self, each: Array) -> Array:
        """Sums over the neurons of each class of whole numbers (N,), int64 (classes,)."""
        return np.bincount(self.labels, each, len(self.home)).astype(np.int64)  # in float64, exact below 2**53


@dataclass(frozen=True)
class Wiring:
    """All projections over the cores in use.

    Args:
        cores: global numbers of the cores in use, ascending; everything below indexes into them.
        links: in the order of the network's projections.
        fans: by population.
    """

    cores: Array
    links: tuple[Link, ...]
    fans: dict[str, Fan]

    def out_of(self, population: str) -> tuple[Link, ...]:
        """Links that start at a population."""
        return tuple(link for link in self.links if link.projection.pre == population)


def wire(artifact: Artifact) -> Wiring:
    """The wiring of a mapped network."""
    network, slices = artifact.network, dict[str, list[Slice]]()
    for part in artifact.mapping.slices:
        slices.setdefault(part.population, []).append(part)
    cores = np.unique([part.core for part in artifact.mapping.slices])
    links, fans = dict[Projection, Link](), {}
    for p in network.populations:
        fans[p.name], found = _fan(p, artifact, slices, cores)
        links |= {link.projection: link for link in found}
    return Wiring(cores, tuple(links[q] for q in network.projections), fans)


def _fan(
    p: Population[Any], artifact: Artifact, slices: dict[str, list[Slice]], cores: Array
) -> tuple[Fan, list[Link]]:
    """A population's classes, and the links that start there."""
    network, target = artifact.network, artifact.target
    home = np.full(p.shape, -1, np.int64)
    for part in slices.get(p.name, ()):
        home[part.where] = np.searchsorted(cores, part.core)
    labels, first = _numbered(home.ravel() + 1)
    found = [(q, *_spread(q, network, slices[q.post], cores)) for q in network.out_of(p.name)]
    for _, kind, counts, _ in found:
        labels, first = _numbered(labels.astype(np.int64) * counts.shape[0] + kind)
    links = [
        Link(q, q.op.format, sparse.csr_matrix(counts[kind[first]]), axons[kind[first]], _nonzero(q, network))
        for q, kind, counts, axons in found
    ]
    touched = sum((link.axons for link in links), sparse.csr_matrix((len(first), len(cores)), dtype=np.int64))
    touched = sparse.csr_matrix(touched if target.core.message_per_axon else touched.sign(), dtype=np.int64)
    return Fan(labels, home.ravel()[first], touched, flits(target, p.payload)), links


def _spread(q: Projection, network: Network[Any], slices: list[Slice], cores: Array) -> tuple[Array, Any, Any]:
    """The kind of every pre neuron, and how many synapses and slices of each core one of each kind reaches."""
    pre, post = network[q.pre], network[q.post]
    if q.op.injects:
        none = sparse.csr_matrix((1, len(cores)), dtype=np.int64)
        return np.zeros(pre.size, np.int64), none, none
    kind, counts = q.op.spread(network.weights, pre.shape, post.shape, np.array([s.box for s in slices], np.int64))
    at = np.searchsorted(cores, [s.core for s in slices])
    gather = sparse.csr_matrix((np.ones(len(at), np.int64), (np.arange(len(at)), at)), shape=(len(at), len(cores)))
    return kind, sparse.csr_matrix(counts @ gather), sparse.csr_matrix(sparse.csr_matrix(counts).sign() @ gather)


def _nonzero(q: Projection, network: Network[Any]) -> Array | None:
    if q.op.injects or (network.weights[q.op.weight] != 0).all():
        return None
    return q.op.fan_out(*network.between(q), nonzero=True).ravel()


def _numbered(keys: Array) -> tuple[Array, Array]:
    """Keys (N,) not below 0 as labels 0, 1, … (int32) in the order of the keys, and a place of each."""
    span = int(keys.max(initial=0)) + 1
    if span > 4 * len(keys):
        _, first, labels = np.unique(keys, return_index=True, return_inverse=True)
        return labels.astype(np.int32), first
    place = np.full(span, -1, np.int64)  # a table: sorting millions of keys takes seconds
    place[keys] = np.arange(len(keys))
    used = place >= 0
    return (np.cumsum(used, dtype=np.int32) - 1)[keys], place[used]
