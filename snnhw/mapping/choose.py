"""Which cut: as few cores as it takes, the shortest period of the same chips, or a short one for little more energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from snnhw.mapping.pack import pack
from snnhw.mapping.partition import Partition
from snnhw.mapping.route import snake
from snnhw.mapping.types import Slice
from snnhw.network import Array


class Aim(StrEnum):
    """What `--map` asks for."""

    FEWEST = "fewest-cores"
    BALANCED = "balanced"
    FASTEST = "fastest"


MORE = 0.045
"""Part of the energy without static parts that `balanced` may add: 5 %, less a half for hops and for other data."""

STEPS = (0.8, 0.93, 0.98)
"""Factors from one cap of work to the next: the first until cores or energy are spent, then the finer ones."""


@dataclass(frozen=True)
class Point:
    """A cut with its slices on numbered cores.

    Args:
        busy: work of its busiest core over the load's steps, picoseconds.
        joules: energy of the load's steps without static parts and hops.
    """

    cut: Partition
    slices: tuple[Slice, ...]
    busy: float
    joules: float

    @property
    def cores(self) -> int:
        """Cores in use."""
        return max(part.core for part in self.slices) + 1


def point(cut: Partition) -> Point:
    """What a cut comes to; without a load, work and energy are 0."""
    slices = tuple(pack(cut))
    joules = 0.0 if cut.work is None else cut.work.joules(cut.boxes)
    return Point(cut, slices, float(core_work(cut, slices).max(initial=0)), joules)


def core_work(cut: Partition, slices: Sequence[Slice]) -> Array:
    """Generation and reception of every core over the load's steps, (2, cores), picoseconds."""
    at = [part.core for part in slices]
    work = np.concatenate([np.stack(cut.work_of(p.name)) for p in cut.network.computed], axis=1)
    return np.stack([np.bincount(at, weights=side) for side in work])


def ends(fewest: Point) -> dict[Aim, Point]:
    """The cut of each aim, from the coarsest that fits; all on the chips that it needs.

    A walk down: work per core is capped lower and lower, until cores, or for `balanced` energy, are spent. Every step
    cuts the one before finer.
    """
    per_chip = len(snake(fewest.cut.target))
    cores = -(-fewest.cores // per_chip) * per_chip
    balanced = _walk(fewest, cores, fewest.joules * (1 + MORE))
    fastest = _walk(balanced, cores, np.inf)
    return {Aim.FEWEST: fewest, Aim.BALANCED: balanced, Aim.FASTEST: fastest}


def _walk(start: Point, cores: int, joules: float) -> Point:
    best = at = start
    for factor in STEPS:
        while at.busy > 0:
            cut = at.cut.finer(at.busy * factor)
            if cut.parts == at.cut.parts and cut.cap == at.cut.cap:
                break
            found = point(cut)
            if cut.failures or found.cores > cores or found.joules > joules or found.busy >= at.busy:
                break
            best = at = found
    return best
