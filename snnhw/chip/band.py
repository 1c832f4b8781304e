"""How far a time or an energy may be off: the target at its low and its high end (docs/energy.md, "The band").

    low  = least of the number and its alternatives, each divided by the spread of its grade
    high = largest of them, each multiplied by it

All constants are low together, or high together: what is made of them re-adds at both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from snnhw.machine import Constant, Machine, Section

SPREADS = {
    "definition": ("1", "1"),
    "published": ("1", "1"),
    "measured-fit": ("1.25", "1.12"),
    "simulated": ("1.25", "1.25"),
    "scaled": ("1.25", "1.25"),
    "inherited": ("1.4", "1.4"),
    "assumed": ("2", "2"),
}
"""Factor each way by grade: of times, and of energies and powers. Those of a fit on silicon are what the literature
states for such models; the others are ours: a third, a half and a whole octave."""


@dataclass(frozen=True)
class Band:
    """A number that nobody measured: low, likely and high."""

    low: float
    likely: float
    high: float

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, by: float | Band) -> Band:
        """By a count, or by another band: the ends meet."""
        other = by if isinstance(by, Band) else Band(by, by, by)
        return Band(self.low * other.low, self.likely * other.likely, self.high * other.high)

    def largest(self, other: Band) -> Band:
        """The larger one at each end."""
        return Band(max(self.low, other.low), max(self.likely, other.likely), max(self.high, other.high))


ZERO = Band(0.0, 0.0, 0.0)


def ends(constant: Constant) -> tuple[Fraction, Fraction, Fraction]:
    """Low, likely and high of a time, an energy or a power, in s, J or W."""
    said = [(constant.value, constant.grade), *((other["value"], other["grade"]) for other in constant.alternatives)]
    column = 0 if constant.unit.split()[0].endswith("s") else 1
    lows, highs = [], []
    for value, grade in said:
        exact, spread = Constant(value, constant.unit, grade, "").si(), Fraction(SPREADS[grade][column])
        lows.append(exact / spread)
        highs.append(exact * spread)
    return min(lows), constant.si(), max(highs)


def band_of(constant: Constant) -> Band:
    """The same as floats."""
    return Band(*map(float, ends(constant)))


def machines(target: Machine) -> tuple[Machine, Machine, Machine]:
    """The target with all its times, energies and powers low, as they are, and high."""
    return _end(target, min), target, _end(target, max)


def _end(target: Machine, pick: Callable[[tuple[Fraction, ...]], Fraction]) -> Machine:
    sections = ("time", "energy", "system")
    changed = {name: _changed(getattr(target, name), f"{name}.", target, pick) for name in sections}
    return target.model_copy(update=changed)


def _changed(section: Any, prefix: str, target: Machine, pick: Callable[[tuple[Fraction, ...]], Fraction]) -> Any:
    if isinstance(section, Section):
        found = {name: _changed(value, f"{prefix}{name}.", target, pick) for name, value in section}
        return section.model_copy(update=found)
    if isinstance(section, Mapping):
        return {name: _changed(value, f"{prefix}{name}.", target, pick) for name, value in section.items()}
    constant = target.constants.get(prefix.removesuffix("."))
    if constant is None:
        return section  # the file says nothing of it
    exact = pick(ends(constant))
    return round(exact * 10**12) if isinstance(section, int) else float(exact)
