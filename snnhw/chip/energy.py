"""Energy on the chip: counts times constants, each part with its grade and source (docs/energy.md).

x86 cores, host and the loading of the network are no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times
from snnhw.chip.tally import Tally
from snnhw.machine import Machine, worst

EXCLUDED = "embedded x86 cores, host and loading of the network are excluded"


@dataclass(frozen=True)
class Part:
    """One part of the energy of one sample.

    Args:
        joules: count * each.
        count: mean number of operations per sample; for static power core-seconds or chip-seconds.
        each: joules per operation, or watts for static power.
        constant: key in the target file, with its grade and source.
    """

    joules: float
    count: float
    each: float
    constant: str
    grade: str
    source: str


@dataclass(frozen=True)
class Energy:
    """Energy of one sample (mean), by part; `grade` is the least certain among the constants used."""

    total_j: float
    parts: dict[str, Part]
    grade: str
    excluded: str = EXCLUDED


def energy(artifact: Artifact, total: Tally, times: Times, time_grade: str = "definition") -> Energy:
    """Mean energy of a sample in the steady pipeline (static power for T chip steps).

    A part whose count is zero uses no constant and does not weigh on the grade. Static energy is power times a
    modelled time, so it is no more certain than `time_grade`.
    """
    target, samples = artifact.target, total.samples
    counted = {name: row for name, row in operations(total).items() if row[0] in target.constants}
    parts = {name: _part(target, key, count / samples) for name, (key, count) in counted.items()}
    seconds = times.period / samples / 1e12
    for name, units in (("static_core", artifact.mapping.cores_used), ("static_chip", artifact.mapping.chips)):
        part = _part(target, f"energy.{name}", units * seconds)
        parts[name] = replace(part, grade=worst((part.grade, time_grade)))
    used = [part.grade for part in parts.values() if part.count > 0]
    return Energy(fsum(part.joules for part in parts.values()), parts, worst(used))


def operations(total: Tally) -> dict[str, tuple[str, int]]:
    """Part -> (key of its constant, number of operations in the run)."""
    synops = {f"synops_{f}": (f"energy.synop.{f}", total.synops_of(f)) for f in ("dense", "sparse", "conv")}
    return synops | {
        "neuron_access": ("energy.access", total.accesses),
        "neuron_update": ("energy.update", total.active),
        "spike_out": ("energy.spike_out", total.spikes),
        "message_out": ("energy.message_out", total.core_flits),
        "message_in": ("energy.message_in", total.messages),
        "hops_ew": ("energy.hop_ew", total.hops_ew),
        "hops_ns": ("energy.hop_ns", total.hops_ns),
        "border": ("energy.border", total.chip_crossings),
    }


def _part(target: Machine, key: str, count: float) -> Part:
    constant = target.constant(key)
    each = float(constant.si())
    return Part(count * each, count, each, key, constant.grade, constant.source)
