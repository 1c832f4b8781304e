"""What a sweep found: accuracy against energy and time, as pictures, tables and in the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator
from rich.console import Console

from snnhw.chip.band import Band
from snnhw.comparison.points import Row
from snnhw.report import frames, terminal
from snnhw.report.numbers import band, count, percent, plain
from snnhw.report.plots import SOFT, Picture
from snnhw.report.tables import Table

COSTS = {"energy": ("energy_j", "energy per sample", "J"), "period": ("period_s", "time between samples", "s")}
"""By name of the picture: the field, its words and unit."""

NAMES = ("sweep.json", "sweep.csv", *(f"accuracy_{name}.{kind}" for name in COSTS for kind in ("pdf", "svg", "png")))
"""Files of `pages`."""


def gain(row: Row) -> float | None:
    """What is weighed against cost: accuracy with labels, else agreement, else how small the error is."""
    if row.accuracy is not None:
        return row.accuracy
    return row.agreement if row.agreement is not None else None if row.rmse is None else -row.rmse


def front(rows: Sequence[Row], cost: str) -> list[Row]:
    """Rows that no other one beats in cost without losing gain, from cheap to dear."""
    found: list[Row] = []
    done = [row for row in rows if row.refused is None and gain(row) is not None]
    for row in sorted(done, key=lambda row: (getattr(row, cost), -(gain(row) or 0.0))):
        if not found or (gain(row) or 0.0) > (gain(found[-1]) or 0.0):
            found.append(row)
    return found


def picture(rows: Sequence[Row], name: str) -> Picture:
    """Every point, and the line of those that no other beats."""
    cost, words, unit = COSTS[name]
    done = [row for row in rows if row.refused is None and gain(row) is not None]
    what = "accuracy" if done and done[0].accuracy is not None else "agreement"
    what, share = (what, 100.0) if not done or done[0].agreement is not None else ("-RMSE", 1.0)

    def draw(axes: Axes) -> None:
        for target in dict.fromkeys(row.point.target for row in done):
            mine = [row for row in done if row.point.target == target]
            costs = np.array([[getattr(r, cost + end) for end in ("_low", "", "_high")] for r in mine])
            reach = np.abs(costs[:, 1:2] - costs[:, ::2]).T
            gains = [share * (gain(r) or 0.0) for r in mine]
            axes.errorbar(costs[:, 1], gains, xerr=reach, fmt="o", elinewidth=0.6, label=target)
        best = front(rows, cost)
        places = [(getattr(row, cost), share * (gain(row) or 0.0)) for row in best]
        axes.plot(*zip(*places, strict=True), color=SOFT, lw=0.8, zorder=0) if places else None
        for row, place in zip(best, places, strict=True):
            axes.annotate(_short(row), place, (3, -9), textcoords="offset points", fontsize=7, color=SOFT)
        axes.set_xscale("log")
        for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            formatter(EngFormatter(unit))
        axes.xaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 5, 7)))
        axes.set_xlabel(words)
        axes.set_ylabel(f"{what} [%]" if share > 1 else what)
        axes.legend(frameon=False)

    return Picture(draw, 5.0, 3.4)


def _short(row: Row) -> str:
    bits = "" if row.point.weight_bits is None else f"{row.point.weight_bits} bits"
    return ", ".join(part for part in (bits, "" if row.point.steps is None else f"T {row.point.steps}") if part)


def table(rows: Sequence[Row]) -> Table:
    """A row a point, named by what differs; * marks what no other point beats in both energy and gain."""
    best = {id(row) for row in front(rows, "energy_j")}
    said = [(p.target, p.weight_bits or "own", str(p.steps or "own"), p.map, p.scale) for p in (r.point for r in rows)]
    names = [i for i in range(len(_NAMES)) if i == 0 or len({words[i] for words in said}) > 1]
    shown: list[tuple[str, ...]] = []
    for row, words in zip(rows, said, strict=True):
        shares = tuple("" if share is None else percent(share) for share in (row.accuracy, row.agreement))
        costs = () if row.refused else (_banded(row, "energy_j", "J"), _banded(row, "period_s", "s"))
        cells = (*shares, *costs, count(row.cores or 0), "*" if id(row) in best else "")
        if row.refused is not None:
            cells = ("",) * 5 + (f"WARNING {row.refused}",)
        shown.append((*(words[i] for i in names), *cells))
    note = "* no other point has more accuracy (or agreement) for less energy"
    columns = (*(_NAMES[i] for i in names), "accuracy", "agreement", "energy", "period", "cores", "")
    return Table("Sweep", columns, tuple(shown), names=len(names), note=note)


def _banded(row: Row, name: str, unit: str) -> str:
    return band(Band(*(getattr(row, name + end) for end in ("_low", "", "_high"))), unit)


_NAMES = ("target", "bits", "T", "map", "scale")


def show(rows: Sequence[Row], console: Console | None = None) -> None:
    """The table in the terminal."""
    terminal.print_table(plain(table(rows)), console)


def pages(rows: Sequence[Row]) -> dict[str, str | bytes]:
    """Contents of the files NAMES."""
    flat = [row.to_dict() for row in rows]
    made: dict[str, str | bytes] = {"sweep.json": json.dumps(flat, indent=2) + "\n", "sweep.csv": frames.to_csv(flat)}
    for name in COSTS:
        drawn = picture(rows, name)
        made |= {f"accuracy_{name}.{kind}": drawn.file(kind) for kind in ("pdf", "svg", "png")}
    return made
