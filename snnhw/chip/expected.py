"""What a sample takes at the load that a network was placed for: time and energy before any run."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.chip.analytic import barrier, tiles_in_use
from snnhw.chip.band import Band, machines
from snnhw.machine import Machine
from snnhw.mapping.load import Load, Work
from snnhw.mapping.types import Mapping
from snnhw.network import Network


def expected(mapping: Mapping, load: Load, network: Network[Any], target: Machine) -> dict[str, Band]:
    """Period and energy of a sample if every step were the load's mean step, each with its band (docs/energy.md).

    A run's steps differ, and the busiest core of each is waited for, so that a run takes longer.

    Returns:
        period_s: T steps of the busiest core and the barrier; energy_j: of T steps, hops left out; static_j: leakage
        of cores and chips in use over the period, which is no part of energy_j.
    """
    found = [_at(mapping, load, network, machine) for machine in machines(target)]
    return {name: Band(*(end[name] for end in found)) for name in found[0]}


def _at(mapping: Mapping, load: Load, network: Network[Any], target: Machine) -> dict[str, float]:
    """The same with a machine's own constants."""
    work = Work(network, target, load)
    boxes = {p.name: np.array([part.box for part in mapping.of(p.name)], np.int64) for p in network.computed}
    cores = np.unique([part.core for part in mapping.slices])
    busy = np.zeros((2, len(cores)))
    for p in network.computed:
        at = np.searchsorted(cores, [part.core for part in mapping.of(p.name)])
        for side, spent in enumerate(work.of(p.name, boxes)):
            busy[side] += np.bincount(at, spent, len(cores))
    step = float(busy.max(initial=0.0)) / load.steps / 1e12
    step += barrier(target, tiles_in_use(cores, target), mapping.chips).picoseconds / 1e12
    period = network.steps * step
    watts = target.energy.static_core * len(cores) + target.energy.static_chip * mapping.chips
    joules = network.steps * work.joules(boxes) / load.steps
    return {"period_s": period, "energy_j": joules, "static_j": watts * period}
