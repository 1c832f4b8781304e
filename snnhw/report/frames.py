"""The comparison's rows as numbers: what `to_frame`, CSV files and `--figures` hold. They re-add to the JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from snnhw.chip.band import Band
from snnhw.comparison.tree import Comparison
from snnhw.report.numbers import plain

Rows = list[dict[str, Any]]


def _row(record: Any) -> dict[str, Any]:
    """A dataclass as a row; a band as three columns."""
    found: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        found |= _ends(f.name, value) if isinstance(value, Band) else {f.name: value}
    return found


def _ends(name: str, band: Band) -> dict[str, float]:
    return {f"{name}_{end}": getattr(band, end) for end in ("low", "likely", "high")}


def _layers(c: Comparison) -> Rows:
    moved = {row.name: row for row in c.drift}
    return [
        {
            "layer": q.name,
            "neurons": q.neurons,
            "rate_float": f.rate,
            "rate_quantized": q.rate,
            "spikes_float": f.spikes,
            "spikes_quantized": q.spikes,
            "drift": moved[q.name].distance,
            "change": moved[q.name].relative,
            "change_of_neurons": moved[q.name].neurons,
        }
        for f, q in zip(c.float_.layers, c.quantized.layers, strict=True)
    ]


def _energy(c: Comparison) -> Rows:
    return [{"part": name, **_row(part)} for name, part in c.energy.parts.items()]


def _times(c: Comparison) -> Rows:
    return [{"part": name, **_row(part)} for name, part in c.latency.parts.items()]


def _beside(c: Comparison) -> Rows:
    """What the boundary leaves out: joules and seconds."""
    kinds = (("J", c.energy.beside), ("s", c.latency.beside))
    return [
        {"part": name, "unit": unit, "constant": part.constant, "grade": part.grade, **_ends("band", part.band)}
        for unit, parts in kinds
        for name, part in parts.items()
    ]


def _cores(c: Comparison) -> Rows:
    return [{**_row(row), "populations": "; ".join(f"{k} {n}" for k, n in row.populations.items())} for row in c.cores]


def _convention(c: Comparison) -> Rows:
    block = c.convention_45nm
    return [{"network": name, **asdict(side)} for name, side in (("float_snn", block.float_snn), ("ann", block.ann))]


def _confusion(c: Comparison) -> Rows:
    if c.decisions is None:
        return []
    sides = (("float", c.decisions.float_), ("quantized", c.decisions.quantized))
    return [{"network": name, **asdict(cell)} for name, cells in sides for cell in cells]


def _disagreements(c: Comparison) -> Rows:
    found = () if c.decisions is None else c.decisions.disagreements
    return [{"sample": d.sample, "float": d.float_, "quantized": d.quantized, "label": d.label} for d in found]


FRAMES: dict[str, Callable[[Comparison], Rows]] = {
    "layers": _layers,
    "energy": _energy,
    "times": _times,
    "beside": _beside,
    "by_step": lambda c: [_row(row) for row in c.steps_trace],
    "limits": lambda c: [{**_row(row), "core": "" if row.core is None else str(row.core)} for row in c.floor],
    "links": lambda c: [_row(row) for row in c.links],
    "costs": lambda c: [_row(row) for row in c.layers],
    "projections": lambda c: [asdict(row) for row in c.projections],
    "cores": _cores,
    "overflow": lambda c: [asdict(row) for row in c.overflow],
    "convention_45nm": _convention,
    "confusion": _confusion,
    "disagreements": _disagreements,
    "what_if": lambda c: [row.to_dict() for row in c.what_if],
    "constants": lambda c: [asdict(row) for row in c.constants],
}
"""Tables of a comparison by name, in the units of `comparison/tree.py`: counts per sample, joules, seconds."""


def rows(c: Comparison, name: str) -> Rows:
    """Rows of one table; raises KeyError for a name that is not in FRAMES."""
    return FRAMES[name](plain(c))


def to_csv(found: Rows) -> str:
    """The rows as CSV (RFC 4180, \\n). A text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _inert(value) for key, value in row.items()} for row in found)
    return out.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\n")) else value
