"""Populations that feed back into each other: the one place where the fast engine goes step by step.

Everything that comes from outside the loop is summed over all steps at once, as elsewhere. Inside it a step of all
members follows the last; feedback reads what was sent `lag` steps before, nothing in a sample's first steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnhw.engines.base import Needs, Record
from snnhw.engines.cells import Cells
from snnhw.engines.synapses import Inputs, added_up
from snnhw.machine import Machine
from snnhw.network import Array, IntNeuron, Network


class Loop:
    """One group of `Network.components` that feeds back."""

    def __init__(self, network: Network[IntNeuron], names: tuple[str, ...], needs: Needs, machine: Machine) -> None:
        self.members = tuple(network[name] for name in names)
        into = {name: network.into(name) for name in names}
        self.outside, self.inside = (
            {p.name: Inputs(network, p, [q for q in into[p.name] if (q.pre in names) is own]) for p in self.members}
            for own in (False, True)
        )
        both = {name: (self.outside[name], self.inside[name]) for name in names}
        self.bounds = {name: sum(x.bound << x.exponent for x in inputs) for name, inputs in both.items()}
        self.cells = {p.name: Cells(p, needs, machine.widths, self.bounds[p.name], 0) for p in self.members}

    def run(
        self, values: Mapping[str, Array], past: Mapping[str, Array], size: tuple[int, int]
    ) -> dict[str, tuple[Array, Record]]:
        """Spikes and records of all members from the spikes of the populations before the loop, (B, k, N).

        Args:
            past: spikes of earlier steps, oldest first, (B, depth, N), of what is read late.
            size: samples and steps.
        """
        driven = {p.name: self.outside[p.name].sums(values, past) for p in self.members}
        rooms = {name: cells.room(size) for name, cells in self.cells.items()}

        def sent(name: str, t: int) -> Array:
            """Spikes of one step, (B, 1, N)."""
            at, spikes = (t, rooms[name].spikes) if t >= 0 else (t + past[name].shape[1], past[name])
            return spikes[:, at : at + 1]

        for t in range(size[1]):
            for p in self.members:
                outside, inside = self.outside[p.name], self.inside[p.name]
                arrived = driven[p.name]
                parts = [(arrived[:, t % arrived.shape[1], None], outside.exponent)]
                for group in inside.groups:
                    now = {name: sent(name, t - group.projection.lag) for name in group.pres}
                    parts.append((group.sums(group.added(now)), group.exponent))
                a = added_up(parts, self.bounds[p.name], p.size)
                step = self.cells[p.name].room((size[0], 1))
                self.cells[p.name].update(np.broadcast_to(a, (size[0], 1, p.size)), step)
                rooms[p.name].put(t, step)
        return {name: (rooms[name].spikes, cells.record(rooms[name])) for name, cells in self.cells.items()}
