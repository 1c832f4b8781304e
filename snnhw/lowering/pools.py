"""Global pools before a matrix: a relay that adds up each channel and sends the sum as one graded spike.

The alternative, the matrix's columns replicated over all pixels, stores (and charges) every weight once a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import nir
import numpy as np

from snnhw.lowering.schedule import relay_model
from snnhw.network import Array, Conv, FloatNeuron, Kind, Population, Projection
from snnhw.rationale import Effect, Reason

Populations = Sequence[Population[FloatNeuron]]


@dataclass(frozen=True)
class GlobalPool:
    """A pool as a population.

    Args:
        remainder: what is left of the pool behind it: a Scale (1 / pixels for an average).
        reason: why it is one.
    """

    population: Population[FloatNeuron]
    projections: tuple[Projection, ...]
    weights: Mapping[str, Array]
    remainder: nir.Scale
    reason: Reason

    @staticmethod
    def make(name: str, node: nir.NIRNode, members: Populations) -> GlobalPool:
        """The relay of a pool node over the sum of these populations, all of one shape (C, H, W)."""
        channels, height, width = members[0].shape
        largest = most(members)
        ones = np.ones((channels, 1, height, width))
        op = Conv(f"{name}.ones", groups=channels)
        share = 1.0 / (height * width) if isinstance(node, nir.AvgPool2d) else 1.0
        return GlobalPool(
            Population(name, (channels, 1, 1), Kind.RELAY, relay_model(largest), payload=(0, largest)),
            tuple(Projection(f"{member.name}->{name}", member.name, name, op) for member in members),
            {op.weight: ones},
            nir.Scale(np.full((channels, 1, 1), share)),
            Reason(
                population=name,
                parameter="pool",
                integer="graded relay",
                real=f"{height}x{width} pixels to one, sums up to {largest}",
                kind=Effect.CHOSEN,
                text="fewer synapses than the next layer's columns replicated over all pixels",
            ),
        )


def most(members: Populations) -> int:
    """Largest sum over all pixels."""
    return sum(member.payload[1] for member in members) * prod(members[0].shape[1:])


def worthwhile(node: nir.NIRNode, members: Populations, payload: int, outputs: int) -> bool:
    """Whether a node is a global pool of spikes whose relay saves synapses and fits the payload."""
    if not isinstance(node, (nir.AvgPool2d, nir.SumPool2d)) or len({member.shape for member in members}) != 1:
        return False
    shape = members[0].shape
    spiking = all(p.kind in (Kind.NEURON, Kind.GATE) and p.payload == (0, 1) for p in members)
    whole = len(shape) == 3 and tuple(np.broadcast_to(node.kernel_size, 2)) == shape[1:] and not np.any(node.padding)
    pixels = prod(shape[1:])
    cheaper = shape[0] * (pixels + 1 + outputs) < shape[0] * pixels * outputs
    return spiking and whole and cheaper and most(members) <= payload
