"""From the units of a target file to SI and to integer picoseconds, and how certain a set of constants is."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from snnhw.errors import TargetError
from snnhw.target import Constant, Target

CERTAINTY = ("definition", "published", "measured-fit", "simulated", "scaled", "inherited", "assumed")
"""Grades from the most to the least certain."""

_PREFIX = {"": 0, "m": -3, "u": -6, "µ": -6, "n": -9, "p": -12, "f": -15}


def in_si(constant: Constant, base: str, where: str) -> Fraction:
    """A constant's value in the SI unit `base` ('s', 'J' or 'W'), exactly as written in the file."""
    prefix = constant.unit.removesuffix(base)
    if not constant.unit.endswith(base) or prefix not in _PREFIX:
        allowed = ", ".join(prefix + base for prefix in _PREFIX)
        raise TargetError(
            "bad-unit", f"the unit {constant.unit!r} is no multiple of {base}", where=where, limit=allowed
        )
    return Fraction(str(constant.value)) * Fraction(10) ** _PREFIX[prefix]


def picoseconds(target: Target, key: str) -> int:
    """A time of the target file in integer picoseconds (rounded half to even)."""
    return round(in_si(target.constant(key), "s", _where(target, key)) * 10**12)


def joules(target: Target, key: str) -> float:
    """An energy of the target file in joules."""
    return float(in_si(target.constant(key), "J", _where(target, key)))


def watts(target: Target, key: str) -> float:
    """A power of the target file in watts."""
    return float(in_si(target.constant(key), "W", _where(target, key)))


def worst(grades: Iterable[str]) -> str:
    """The least certain of some grades; 'definition' when there is none."""
    return max(grades, key=CERTAINTY.index, default="definition")


def has(target: Target, key: str) -> bool:
    """Whether the target file names 'section.key'."""
    section, _, name = key.partition(".")
    return name in target.sections.get(section, {})


def _where(target: Target, key: str) -> str:
    return f"{target.name}.toml, {key}"
