"""Slices onto cores: each goes to the first core of the chip at hand that has room, in topological order."""

from __future__ import annotations

import numpy as np

from snnhw.mapping.partition import Partition
from snnhw.mapping.resources import SHARED, limits
from snnhw.mapping.route import snake
from snnhw.mapping.types import Slice


def pack(cut: Partition) -> list[Slice]:
    """Slices with core numbers 0, 1, 2, ... instead of places on a mesh.

    Looks back over as many cores as a chip has. Where the cut keeps to a load, so do cores.
    """
    allowed = {key: limit for key, limit in limits(cut.target).items() if key != SHARED}
    ceiling = np.array([*allowed.values(), *[np.inf if cut.cap is None else cut.cap] * 2])
    window, held, count = len(snake(cut.target)), np.zeros((64, len(ceiling))), 0
    found: list[Slice] = []
    for population in cut.network.computed:
        needs, work = cut.needs[population.name], cut.work_of(population.name)
        rows = np.stack([*(needs[key] for key in allowed), *work], axis=1).astype(np.float64)
        for number, box in enumerate(cut.boxes[population.name]):
            first = max(0, count - window)
            room = (held[first:count] + rows[number] <= ceiling).all(axis=1)
            core = first + int(room.argmax()) if room.any() else count
            if core == count:
                count += 1
                held = held if count <= len(held) else np.concatenate([held, np.zeros_like(held)])
            held[core] += rows[number]
            use = {key: int(values[number]) for key, values in needs.items()}
            found.append(Slice(population.name, tuple((int(a), int(b)) for a, b in box), core, use))
    return found


def combined(held: dict[str, int], use: dict[str, int]) -> dict[str, int]:
    """What a core holds after one more slice: sums, but the longest list by itself."""
    return {
        key: max(held.get(key, 0), value) if key == SHARED else held.get(key, 0) + value for key, value in use.items()
    }
