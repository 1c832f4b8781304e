"""Placement: which slice sits on which core. Deterministic; raises MappingError when the network does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.mapping.fit import check_fit, require
from snnhw.mapping.pack import combined, pack
from snnhw.mapping.partition import partition
from snnhw.mapping.resources import limits
from snnhw.mapping.route import snake
from snnhw.mapping.types import Mapping
from snnhw.mapping.verify import verify_mapping
from snnhw.network import IntNeuron, Network

__all__ = ["check_fit", "place", "utilization"]


def place(network: Network[IntNeuron], target: Machine) -> Mapping:
    """Put every computed population on cores (inputs live on the host).

    Populations are taken in topological order, their slices row by row; a slice joins the last core when it still
    fits there, else it opens the next one. Cores follow each other along a snake over the mesh, chip after chip.

    Raises:
        MappingError: 'does-not-fit', with the population, the resource, needed, limit and the nearest legal change;
            'invalid-mapping', where a mistake of the mapper itself breaks a rule of placements.
    """
    cut = partition(network, target)
    packed = pack(cut)
    require(cut, packed)
    order, per_chip = snake(target), target.chip.cores
    numbers = np.array([part.core for part in packed])
    cores = numbers // len(order) * per_chip + order[numbers % len(order)]
    slices = tuple(replace(part, core=int(core)) for part, core in zip(packed, cores, strict=True))
    mapping = Mapping(slices, chips=int(numbers.max()) // len(order) + 1)
    verify_mapping(mapping, target, network)
    return mapping


def utilization(mapping: Mapping, target: Machine) -> list[dict[str, Any]]:
    """One row a core in use: chip, core, populations, and of each resource what is used of what limit.

    A resource without limit in the target file has the limit None.
    """
    allowed, held, names = limits(target), dict[int, dict[str, int]](), dict[int, list[str]]()
    for part in mapping.slices:
        held[part.core] = combined(held.get(part.core, {}), dict(part.use))
        names.setdefault(part.core, [])
        if part.population not in names[part.core]:
            names[part.core].append(part.population)
    return [
        {
            "chip": core // target.chip.cores,
            "core": core,
            "populations": names[core],
            "resources": {key: {"used": used, "limit": allowed.get(key)} for key, used in held[core].items()},
        }
        for core in held
    ]
