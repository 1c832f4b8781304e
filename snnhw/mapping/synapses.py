"""Bits of synaptic memory of a slice. Source: docs/targets.md, "Synaptic memory" (after the NxTF mapper)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.network import Network, Projection
from snnhw.operators.base import Ints


@dataclass(frozen=True)
class Format:
    """How the synapses of one weight array lie in memory: its width, and numbers of `core`."""

    align: int
    weight: int
    entry: int
    prefix: int
    tail: int
    shared: bool

    @staticmethod
    def of(projection: Projection, network: Network[Any], target: Machine) -> Format:
        """The format of a projection's weights as a target file describes it."""
        bits = target.numeric.weight_bits
        return Format(
            align=target.core.list_align_bits or target.core.syn_word_bits,
            weight=bits if projection.op.injects else network.bits.get(projection.op.weight, bits),
            entry=target.core.entry_synapses,
            prefix=target.core.entry_prefix_bits,
            tail=target.core.list_end_bits,
            shared=target.core.conv_shared,
        )

    def bits(self, synapses: Ints, delay: int) -> Ints:
        """Bits of one list: entries of at most `entry` synapses, each with a prefix, and the end mark.

        A synapse carries its weight and as many delay bits as `delay - 1` needs (every hop is one step already).
        """
        bits = synapses * (self.weight + (delay - 1).bit_length()) + self.prefix * -(-synapses // self.entry)
        return np.where(synapses > 0, ((bits + self.tail) // self.align + 1) * self.align, 0)


def synaptic_bits(population: str, network: Network[Any], target: Machine, boxes: Ints) -> tuple[Ints, Ints]:
    """(bits of each slice, bits of its longest list).

    Where the target shares lists, projections with the same weights and delay are stored once in a slice.
    """
    total, longest = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    stored: set[tuple[str, int]] = set()
    for projection in network.into(population):
        fmt = Format.of(projection, network, target)
        bits = partial(fmt.bits, delay=projection.delay)
        lists, count = projection.op.lists(*network.between(projection), boxes, bits, fmt.shared)
        longest = np.maximum(longest, lists)
        if fmt.shared and not projection.op.injects:
            key = (projection.op.weight, projection.delay)
            if key in stored:
                continue
            stored.add(key)
        total = total + count
    return total, longest
