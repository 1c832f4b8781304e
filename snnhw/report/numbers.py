"""Numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from snnhw.chip.band import Band
from snnhw.errors import printable

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


def si(value: float, unit: str) -> str:
    """Four significant digits with an SI prefix: 1.234 mJ."""
    if value == 0:
        return f"0 {unit}"
    power = min(max(3 * math.floor(math.log10(abs(value)) / 3), min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**power:.4g} {_PREFIXES[power]}{unit}"


def band(found: Band, unit: str) -> str:
    """The likely value between the ends: 1.234 mJ (0.9 to 2.1)."""
    return f"{si(found.likely, unit)} ({between(found, unit)})"


def between(found: Band, unit: str) -> str:
    """The ends of a band: 0.9 mJ to 2.1 mJ."""
    return f"{si(found.low, unit)} to {si(found.high, unit)}"


def count(value: float) -> str:
    """A count with thousands separators; decimals only where they say something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def percent(share: float) -> str:
    """0.123 as 12.3 %."""
    return f"{100 * share:.2f} %"


def interval(share: float, samples: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of so many samples."""
    z2 = 1.959964**2 / max(samples, 1)
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return (middle - half) / (1 + z2), (middle + half) / (1 + z2)


_NUMBER = re.compile(r"(-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)(?: ([fpnµmkMG]?)(J|s|W|Hz|B)\b.*| %.*)?")


def magnitude(text: str) -> float | None:
    """The number at the start of a cell, its prefix taken into account: what a column is sorted by; else None."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    powers = {prefix: power for power, prefix in _PREFIXES.items()}
    return float(found[1].replace(",", "")) * 10.0 ** (powers[found[2] or ""] if found[3] else 0)


def plain(value: Any) -> Any:
    """A tree of dataclasses, mappings and tuples with every text `printable`: names come from files."""
    match value:
        case str():
            return printable(value)
        case tuple() | list():
            return type(value)(map(plain, value))
        case Mapping():
            return {plain(key): plain(item) for key, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: plain(getattr(value, f.name)) for f in fields(value) if f.init})
        case _:
            return value
