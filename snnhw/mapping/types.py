"""What placement decides: which box of a population sits on which core, and what that costs there."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from snnhw.network import Shape


class End(TypedDict):
    """What a mean step comes to: the busiest core's time, and energy without static parts and hops."""

    cores: int
    busiest_core_s: float
    energy_j: float


class Choice(TypedDict):
    """What `--map` asked for, at which load (mean events of a neuron in a step), and what each aim comes to there."""

    map: str
    load: str
    rates: dict[str, float]
    ends: dict[str, End]


@dataclass(frozen=True)
class Slice:
    """The part of a population that sits on one core: a box of its tensor.

    Args:
        box: (start, stop) along each axis of the population.
        core: global core number; chip = core // cores per chip.
        use: resources this slice takes on its core, by resource name of the target file.
    """

    population: str
    box: tuple[tuple[int, int], ...]
    core: int
    use: MappingABC[str, int]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(stop - start for start, stop in self.box)

    @property
    def where(self) -> tuple[slice, ...]:
        """The box as an index."""
        return tuple(slice(start, stop) for start, stop in self.box)


@dataclass(frozen=True)
class Mapping:
    """A placement of every computed population (inputs live on the host).

    Args:
        slices: in topological order of their populations.
        chips: number of chips used.
        choice: what it was chosen for; None where nothing was weighed.
    """

    slices: tuple[Slice, ...]
    chips: int
    choice: Choice | None = None

    @cached_property
    def cores_used(self) -> int:
        """Number of distinct cores that hold neurons."""
        return len({s.core for s in self.slices})

    def of(self, population: str) -> tuple[Slice, ...]:
        """Slices of one population."""
        return tuple(s for s in self.slices if s.population == population)

    def core_map(self, population: str, shape: Shape) -> NDArray[np.int64]:
        """Core of every neuron of a population, an int64 array of its shape."""
        cores = np.full(shape, -1, np.int64)
        for part in self.of(population):
            cores[part.where] = part.core
        return cores
