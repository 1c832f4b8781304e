"""What a sample costs beside the cores it keeps busy: host, embedded CPUs, reset, what is powered (docs/energy.md).

Every line belongs to a boundary: `core` holds the cores in use, `chip` the whole of the chips they are on, `board` the
host's part too.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnhw.chip.band import Band, band_of
from snnhw.errors import TargetError
from snnhw.machine import Machine

BOUNDARIES = ("core", "chip", "board")
"""Each holds those before it."""


@dataclass(frozen=True)
class HostValues:
    """Values of a sample that the host writes into the chip, and that it reads."""

    written: float
    read: float


@dataclass(frozen=True)
class Line:
    """One cost of a sample.

    Args:
        boundary: the least boundary that it is inside of.
        constant: key in the target file.
        count: operations of a sample; chips or cores for what is powered.
        powered: whether the constant is a power, so that the count is multiplied by the sample's time.
    """

    boundary: str
    constant: str
    count: float
    powered: bool = False

    def inside(self, boundary: str) -> bool:
        """Whether a boundary holds it."""
        return BOUNDARIES.index(self.boundary) <= BOUNDARIES.index(boundary)


def require_system(target: Machine, boundary: str) -> None:
    """Raises TargetError 'no-system' where the target does not say what is beside the cores."""
    if target.system is None and boundary != "core":
        raise TargetError(
            "no-system",
            f"the target says nothing of what a {boundary} costs beside its cores",
            where=f"{target.name}.toml, [system]",
            hint="add the section (docs/targets.md), or use --boundary core",
        )


def time_lines(target: Machine, values: HostValues) -> dict[str, Line]:
    """Times of a sample beside its chip steps; none where the target has no [system]."""
    if target.system is None:
        return {}
    return {
        "reset": Line("chip", "system.reset", 1),
        "host_in": Line("board", "system.host_in", values.written),
        "host_out": Line("board", "system.host_out", values.read),
    }


def energy_lines(target: Machine, values: HostValues, chips: int, idle_cores: int) -> dict[str, Line]:
    """Energies of a sample beside the cores in use; none where the target has no [system]."""
    if target.system is None:
        return {}
    return {
        "idle_cores": Line("chip", "energy.static_core", idle_cores, powered=True),
        "cpus": Line("chip", "system.cpus", chips, powered=True),
        "base": Line("chip", "system.base", chips, powered=True),
        "reset": Line("chip", "system.reset_energy", chips),
        "host_in": Line("board", "system.host_in_energy", values.written),
        "host_out": Line("board", "system.host_out_energy", values.read),
    }


def seconds(lines: dict[str, Line], target: Machine) -> dict[str, Band]:
    """The band of each time."""
    return {name: band_of(target.constant(line.constant)) * line.count for name, line in lines.items()}


def latency(steps: Band, lines: dict[str, Line], target: Machine, boundary: str) -> Band:
    """Of one isolated sample: its chip steps, then what the boundary holds besides."""
    found = steps
    for name, band in seconds(lines, target).items():
        found = found + band if lines[name].inside(boundary) else found
    return found


def period(steps: Band, lines: dict[str, Line], target: Machine, boundary: str) -> Band:
    """From one sample of a stream to the next: T chip steps and the reset, or the host where that takes longer."""
    bands = seconds(lines, target)
    on_chip, host = steps, Band(0.0, 0.0, 0.0)
    for name, line in lines.items():
        if line.inside(boundary):
            on_chip, host = (on_chip, host + bands[name]) if line.boundary == "board" else (on_chip + bands[name], host)
    return on_chip.largest(host)
