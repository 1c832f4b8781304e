"""Axons between slices: what one core must list to send to, and to receive from, another.

One axon joins one source (or one group of sources that share it) of one slice with one slice of the post
population, for one projection. Its entry stands in both cores' tables. Source: docs/targets.md, "Axons".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.network import Kind, Network, Projection
from snnhw.operators.base import Ints


def sharing(network: Network[Any], projection: Projection, target: Machine) -> int:
    """Most sources that may share one axon: neurons of a dense source, channels of one pixel of a convolution.

    The host injects discrete spikes, so inputs never share; neither do one-to-one and sparse projections, whose
    sources reach different neurons.
    """
    if network[projection.pre].kind is Kind.INPUT or not projection.op.shares_axons:
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

    def entries(reaching: Ints) -> tuple[Ints, Ints]:
        shared = -(-reaching // share)
        return shared, np.minimum(reaching, slots * shared) if share > 1 else reaching

    return projection.op.axons(*network.between(projection), sources, destinations, entries)
