"""Energy of a sample: counts times constants, each part with its band, grade and source (docs/energy.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import fsum

from snnhw.artifact import Artifact
from snnhw.chip.band import ZERO, Band, band_of
from snnhw.chip.system import HostValues, Line, energy_lines
from snnhw.chip.tally import Tally
from snnhw.machine import Machine, worst

EXCLUDED = "loading of the network is excluded"

NO_HOST = HostValues(0.0, 0.0)


@dataclass(frozen=True)
class Part:
    """One part of the energy of one sample.

    Args:
        joules: count * each.
        count: mean number of operations per sample; for static power core-seconds or chip-seconds.
        each: joules per operation, or watts for static power.
        constant: key in the target file, with its grade and source.
        band: low, likely (joules) and high.
    """

    joules: float
    count: float
    each: float
    constant: str
    grade: str
    source: str
    band: Band


@dataclass(frozen=True)
class Energy:
    """Energy of one sample (mean), by part; `grade` is the least certain among the constants used.

    Args:
        parts: those inside the boundary, which add up to `total_j`, and at both ends to `band`.
        boundary: 'core', 'chip' or 'board' (`snnhw.chip.system`).
        beside: what the boundary leaves out.
    """

    total_j: float
    parts: dict[str, Part]
    grade: str
    band: Band
    boundary: str = "core"
    beside: dict[str, Part] = field(default_factory=dict)
    excluded: str = EXCLUDED


def energy(
    artifact: Artifact,
    total: Tally,
    period: Band,
    time_grade: str = "definition",
    boundary: str = "core",
    values: HostValues = NO_HOST,
) -> Energy:
    """Mean energy of a sample in the steady pipeline.

    A part whose count is zero uses no constant and does not weigh on the grade. Static energy is power times a
    modelled time, so it is no more certain than `time_grade`.

    Args:
        period: seconds from one sample to the next, inside the boundary.
        values: what the host writes and reads.
    """
    target, samples, mapping = artifact.target, total.samples, artifact.mapping
    counted = {name: row for name, row in operations(total).items() if row[0] in target.constants}
    lines = {name: Line("core", key, count / samples) for name, (key, count) in counted.items()}
    lines["static_core"] = Line("core", "energy.static_core", mapping.cores_used, powered=True)
    lines["static_chip"] = Line("core", "energy.static_chip", mapping.chips, powered=True)
    idle = mapping.chips * target.chip.cores - mapping.cores_used
    lines |= energy_lines(target, values, mapping.chips, idle)
    made = {name: _part(target, line, period, time_grade) for name, line in lines.items()}
    parts = {name: made[name] for name, line in lines.items() if line.inside(boundary)}
    used = [part.grade for part in parts.values() if part.count > 0]
    joules = fsum(part.joules for part in parts.values())
    return Energy(
        joules,
        parts,
        worst(used),
        replace(sum((part.band for part in parts.values()), ZERO), likely=joules),
        boundary,
        {name: part for name, part in made.items() if name not in parts},
    )


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


def _part(target: Machine, line: Line, period: Band, time_grade: str) -> Part:
    constant = target.constant(line.constant)
    each = band_of(constant)
    if not line.powered:
        band = each * line.count
        return Part(band.likely, line.count, each.likely, line.constant, constant.grade, constant.source, band)
    count = line.count * period.likely
    grade = worst((constant.grade, time_grade))
    return Part(
        count * each.likely, count, each.likely, line.constant, grade, constant.source, each * period * line.count
    )
