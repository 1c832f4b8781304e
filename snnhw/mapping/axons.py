"""Axons between slices: what one core must list to send to, and to receive from, another.

One axon joins one source (or one group of sources that share it) of one slice with one slice of the post
population, for one projection. Its entry stands in both cores' tables. Source: docs/targets.md, "Axons".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.linear import matrix_of
from snnhw.machine import Machine
from snnhw.mapping.geometry import Ints, axis_counts, labels, sizes
from snnhw.network import Conv, Dense, Diagonal, Inject, Kind, Network, Projection, Sparse


def sharing(network: Network[Any], projection: Projection, target: Machine) -> int:
    """Most sources that may share one axon: neurons of a dense source, channels of one pixel of a convolution.

    The host injects discrete spikes, so inputs never share; neither do one-to-one and sparse projections, whose
    sources reach different neurons.
    """
    if network[projection.pre].kind is Kind.INPUT or not isinstance(projection.op, Dense | Conv):
        return 1
    return target.core.axon_sources


def axons(
    projection: Projection, network: Network[Any], target: Machine, sources: Ints, destinations: Ints
) -> tuple[Ints, Ints]:
    """Axon table entries of one projection.

    Args:
        sources: boxes of the pre population; destinations: boxes of the post population; both are grids.

    Returns:
        (in-axons of every destination, out-axon slots of every source). A shared axon takes
        `core.shared_axon_slots` slots at its source, a discrete one a single slot.
    """
    share, slots = sharing(network, projection, target), target.core.shared_axon_slots
    match projection.op:
        case Inject():
            return np.zeros(len(destinations), np.int64), np.zeros(len(sources), np.int64)
        case Dense():
            entered, left = _entries(sizes(sources), share, slots)
            return np.full(len(destinations), entered.sum()), left * len(destinations)
        case Sparse():
            return _sparse(projection, network, sources, destinations)
        case Conv() | Diagonal():
            return _product(projection, network, sources, destinations, share, slots)


def _entries(reaching: Ints, share: int, slots: int) -> tuple[Ints, Ints]:
    """(in-axons, out-axon slots) of so many sources that may share."""
    shared = -(-reaching // share)
    return shared, np.minimum(reaching, slots * shared) if share > 1 else reaching


def _product(
    projection: Projection, network: Network[Any], sources: Ints, destinations: Ints, share: int, slots: int
) -> tuple[Ints, Ints]:
    """Entries are pixels times entries of a pixel's channels, and slices form grids: sums factor into the axes."""
    received, sent = np.ones(len(destinations), np.int64), np.ones(len(sources), np.int64)
    for axis in range(sources.shape[1]):
        counts, source, destination = axis_counts(projection, network, axis, sources, destinations)
        entered, left = _entries(counts, share, slots) if axis == 0 else (counts, counts)
        received *= entered.sum(axis=0)[destination]
        sent *= left.sum(axis=1)[source]
    return received, sent


def _sparse(projection: Projection, network: Network[Any], sources: Ints, destinations: Ints) -> tuple[Ints, Ints]:
    """One discrete axon for each source and each slice that it has a stored synapse into."""
    assert isinstance(projection.op, Sparse)
    pre, post = network[projection.pre], network[projection.post]
    matrix = matrix_of(projection.op, network.weights, pre.size).tocoo()
    slices = labels(post.shape, destinations)[matrix.row]
    pairs = np.unique(matrix.col.astype(np.int64) * len(destinations) + slices)
    source = labels(pre.shape, sources)[pairs // len(destinations)]
    received = np.bincount(pairs % len(destinations), minlength=len(destinations))
    return received.astype(np.int64), np.bincount(source, minlength=len(sources)).astype(np.int64)
