"""What a sample takes at the load that a network was placed for: time and energy before any run."""

from __future__ import annotations

from typing import Any

import numpy as np

from snnhw.chip.analytic import barrier, tiles_in_use
from snnhw.machine import Machine
from snnhw.mapping.types import Choice, Mapping
from snnhw.network import Network


def expected(mapping: Mapping, choice: Choice, network: Network[Any], target: Machine) -> dict[str, float]:
    """Period and energy of a sample if every step were the load's mean step.

    A run's steps differ, and the busiest core of each is waited for, so that a run takes longer.

    Returns:
        period_s: T steps of the busiest core and the barrier; energy_j: of T steps, hops left out; static_j: leakage
        of cores and chips in use over the period, which is no part of energy_j.
    """
    end = choice["ends"][choice["map"]]
    cores = np.array(sorted({part.core for part in mapping.slices}))
    step = end["busiest_core_s"] + barrier(target, tiles_in_use(cores, target), mapping.chips).picoseconds / 1e12
    period = network.steps * step
    watts = target.energy.static_core * len(cores) + target.energy.static_chip * mapping.chips
    return {"period_s": period, "energy_j": network.steps * end["energy_j"], "static_j": watts * period}
