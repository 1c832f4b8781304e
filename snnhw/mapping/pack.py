"""Slices onto cores: next-fit in topological order, so that slices that talk stay near each other."""

from __future__ import annotations

from snnhw.mapping.partition import Partition
from snnhw.mapping.resources import SHARED, limits
from snnhw.mapping.types import Slice


def pack(cut: Partition) -> list[Slice]:
    """Slices with consecutive core numbers 0, 1, 2, ... instead of places on a mesh."""
    allowed, core, held = limits(cut.target), -1, dict[str, int]()
    found: list[Slice] = []
    for population in cut.network.computed:
        needs = cut.needs[population.name]
        for number, box in enumerate(cut.boxes[population.name]):
            use = {key: int(values[number]) for key, values in needs.items()}
            joined = combined(held, use)
            if core < 0 or any(joined[key] > limit for key, limit in allowed.items()):
                core, joined = core + 1, use
            held = joined
            found.append(Slice(population.name, tuple((int(a), int(b)) for a, b in box), core, use))
    return found


def combined(held: dict[str, int], use: dict[str, int]) -> dict[str, int]:
    """What a core holds after one more slice: sums, but the longest list by itself."""
    return {
        key: max(held.get(key, 0), value) if key == SHARED else held.get(key, 0) + value for key, value in use.items()
    }
