"""Placement: which slice sits on which core. Deterministic; raises MappingError when the network does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.machine import Machine
from snnhw.mapping.choose import Aim, Point, ends, point
from snnhw.mapping.fit import check_fit, require
from snnhw.mapping.load import Load, Work, stated
from snnhw.mapping.mesh import chip_of_core, on_mesh
from snnhw.mapping.pack import combined
from snnhw.mapping.partition import partition
from snnhw.mapping.resources import limits
from snnhw.mapping.types import Choice, End, Mapping
from snnhw.mapping.verify import verify_mapping
from snnhw.network import IntNeuron, Network

__all__ = ["check_fit", "place", "utilization"]


def place(network: Network[IntNeuron], target: Machine, load: Load | None = None, aim: str = Aim.FEWEST) -> Mapping:
    """Put every computed population on cores (inputs live on the host).

    Args:
        load: how busy the network is; without it the fewest cores are taken and nothing is weighed.
        aim: of `Aim`.

    Raises:
        MappingError: 'does-not-fit', with the population, the resource, needed, limit and the nearest legal change;
            'invalid-mapping', where a mistake of the mapper itself breaks a rule of placements.
    """
    work = Work(network, target, stated(network) if load is None else load)
    fewest = point(partition(network, target, work))
    require(fewest.cut, fewest.slices)
    found = {Aim.FEWEST: fewest} if load is None else ends(fewest)
    chosen = found[Aim(aim)]
    traffic = core_traffic(chosen)
    chips = chip_of_core(traffic, target)
    cores = on_mesh(traffic, chips, target)
    slices = tuple(replace(part, core=int(cores[part.core])) for part in chosen.slices)
    choice = None if load is None else _choice(Aim(aim), load, found)
    mapping = Mapping(slices, int(chips.max()) + 1, choice)
    verify_mapping(mapping, target, network)
    return mapping


def _choice(aim: Aim, load: Load, found: dict[Aim, Point]) -> Choice:
    ends = {
        str(name): End(cores=end.cores, busiest_core_s=end.busy / load.steps / 1e12, energy_j=end.joules / load.steps)
        for name, end in found.items()
    }
    return Choice(map=str(aim), load=load.origin, rates=load.rates(), ends=ends)


def core_traffic(chosen: Point) -> Any:
    """Messages between cores over the load's steps, CSR float64 (cores, cores), of pairs that send any.

    Of one projection at a time there is a table of its slices; of all cores there is none.
    """
    cut, cores = chosen.cut, chosen.cores
    at: dict[str, list[int]] = {}
    for part in chosen.slices:
        at.setdefault(part.population, []).append(part.core)
    assert cut.work is not None
    pairs, flows = [np.zeros(0, np.int64)], [np.zeros(0)]
    for projection in cut.network.projections:
        if projection.pre in at and not projection.op.injects:
            boxes = cut.boxes[projection.pre], cut.boxes[projection.post]
            events = cut.work.load.events[projection.pre]
            flow = projection.op.flows(*cut.network.between(projection), *boxes, events)
            source, destination = np.nonzero(flow)
            sender = np.asarray(at[projection.pre], np.int64)[source]
            pairs.append(sender * cores + np.asarray(at[projection.post], np.int64)[destination])
            flows.append(flow[source, destination])
    found, which = np.unique(np.concatenate(pairs), return_inverse=True)
    total = np.rint(np.bincount(which, np.concatenate(flows), len(found)))  # projections add up in their order
    sent = total > 0  # sums of whole numbers are the same in any order, and so is the placement on any machine
    return sparse.csr_matrix((total[sent], np.divmod(found[sent], cores)), shape=(cores, cores))


def utilization(mapping: Mapping, target: Machine) -> list[dict[str, Any]]:
    """One row a core in use: chip, core, populations, and of each resource what is used of what limit, and the rest.

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
            "resources": {
                key: {
                    "used": used,
                    "limit": allowed.get(key),
                    "margin": allowed[key] - used if key in allowed else None,
                }
                for key, used in held[core].items()
            },
        }
        for core in sorted(held)
    ]
