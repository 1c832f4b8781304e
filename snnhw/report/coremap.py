"""The cores of every chip on their mesh, coloured by load or by population."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrow, Patch, Rectangle

from snnhw.comparison.tree import Comparison, CoreRow
from snnhw.report.numbers import count, percent, si
from snnhw.report.plots import Picture

PER_ROW = 2
"""Chips beside each other."""

NUMBERED = 500
"""Cores in use whose numbers are drawn; of more only tooltips say them, as no reader could."""

LEGEND, COLUMNS = 24, 4
"""Populations named in the legend at most, and how many beside each other."""


def load_map(c: Comparison) -> Picture:
    """The floor plan, every core with its number, coloured by its load."""
    return _coloured(c, "load", {row.core: row.load for row in c.cores}, "load, % of the busiest core")


def energy_map(c: Comparison) -> Picture:
    """The floor plan coloured by what each core spends, static parts and hops apart."""
    most = max((row.energy_j for row in c.cores), default=0.0) or 1.0
    label = f"energy, % of the core that spends most ({si(most, 'J')} a sample)"
    return _coloured(c, "energy", {row.core: row.energy_j / most for row in c.cores}, label)


def waiting_map(c: Comparison) -> Picture:
    """The floor plan coloured by the time for which the chip waits for each core."""
    whole = sum(row.critical_s for row in c.cores) or 1.0
    label = "waited for, % of the time of all steps without barriers"
    return _coloured(c, "waiting", {row.core: row.critical_s / whole for row in c.cores}, label)


def _coloured(c: Comparison, kind: str, share: dict[int, float], label: str) -> Picture:
    def draw(axes: Axes) -> None:
        _draw(axes, c, {core: [(1.0, mpl.colormaps["viridis"](part))] for core, part in share.items()}, kind)
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 100), mpl.colormaps["viridis"].resampled(20))
        assert axes.figure is not None
        axes.figure.colorbar(scale, ax=axes, label=label, shrink=0.7, fraction=0.04)

    return Picture(draw, 9.6, 0.5 + _height(c), _tips(c, kind))


def link_map(c: Comparison) -> Picture:
    """The routers of every chip side by side, and the links between them coloured by their flits."""
    most = max((row.flits for row in c.links), default=0.0) or 1.0
    ends = {"east": (1, 0), "west": (-1, 0), "north": (0, 1), "south": (0, -1)}
    columns = 1 + max((row.x for row in c.cores), default=0)

    def draw(axes: Axes) -> None:
        for x in range(max(columns, c.mesh.width)):
            for y in range(c.mesh.height):
                axes.add_patch(Rectangle((x - 0.12, y - 0.12), 0.24, 0.24, facecolor="#d5dae0", edgecolor="none"))
        for row in c.links:
            dx, dy = ends[row.way]
            side = 0.06 * (dx + dy)  # both ways of a pair beside each other
            start = row.x + 0.16 * dx + side * abs(dy), row.y + 0.16 * dy + side * abs(dx)
            arrow = FancyArrow(
                *start, 0.68 * dx, 0.68 * dy, width=0.05, head_width=0.14, head_length=0.14, length_includes_head=True,
                color=mpl.colormaps["viridis"](row.flits / most),
            )  # fmt: skip
            arrow.set_gid(f"tip-link-{row.x}-{row.y}-{row.way}")
            axes.add_patch(arrow)
        axes.set_xlim(-0.5, max(columns, c.mesh.width) - 0.5)
        axes.set_ylim(c.mesh.height - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.axis("off")
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, most), mpl.colormaps["viridis"].resampled(20))
        assert axes.figure is not None
        axes.figure.colorbar(scale, ax=axes, label="flits per sample", shrink=0.7, fraction=0.04)

    tips = {
        f"tip-link-{row.x}-{row.y}-{row.way}": f"router {row.x}, {row.y} to {row.way}: {count(row.flits)} flits, "
        f"busy {si(row.busy_s, 's')} a sample"
        for row in c.links
    }
    return Picture(draw, 9.6, 0.6 + 8.4 * c.mesh.height / max(columns, c.mesh.width), tips)


def population_map(c: Comparison) -> Picture:
    """The floor plan, every core cut in proportion to the neurons of the populations it holds."""
    palette = _palette(c)

    def draw(axes: Axes) -> None:
        shares = {row.core: [(float(n), palette[name]) for name, n in row.populations.items()] for row in c.cores}
        _draw(axes, c, shares, "held")
        patches = [Patch(color=colour, label=f" {name}") for name, colour in list(palette.items())[:LEGEND]]
        axes.legend(
            handles=patches,
            frameon=False,
            fontsize=7,
            loc="upper left",
            bbox_to_anchor=(0.0, 0.0),
            ncols=COLUMNS,
        )

    return Picture(draw, 9.6, 0.7 + 0.17 * ceil(min(LEGEND, len(palette)) / COLUMNS) + _height(c), _tips(c, "held"))


def _chips(c: Comparison) -> tuple[list[int], int]:
    chips = sorted({row.chip for row in c.cores})
    return chips, max(1, min(PER_ROW, len(chips)))


def _height(c: Comparison) -> float:
    """Inches of the floor plan."""
    chips, across = _chips(c)
    return ceil(len(chips) / across) * (c.mesh.height + 1.0) / (c.mesh.width + 0.8) * 8.0 / across


def _tips(c: Comparison, kind: str) -> dict[str, str]:
    held = {row.core: ", ".join(f"{name} {n}" for name, n in row.populations.items()) for row in c.cores}
    return {
        f"tip-{kind}-{row.core}": f"core {row.core}: {held[row.core]}; load {percent(row.load)}, "
        f"{si(row.energy_j, 'J')}, waited for {si(row.critical_s, 's')} a sample"
        for row in c.cores
    }


def _palette(c: Comparison) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in c.cores for name in row.populations))
    colours = [mpl.colormaps[name](i) for name in ("tab20", "tab20b") for i in range(20)]
    return {name: colours[i % len(colours)] for i, name in enumerate(names)}


def _draw(axes: Axes, c: Comparison, shares: dict[int, list[tuple[float, Any]]], kind: str) -> None:
    """Tiles as outlines, cores in use as squares in them; y of the mesh grows downwards."""
    chips, across = _chips(c)
    for number, chip in enumerate(chips):
        left, top = number % across * (c.mesh.width + 0.8), number // across * (c.mesh.height + 1.0)
        axes.text(left, top - 0.12, f"chip {chip}", fontsize=8)
        for x in range(c.mesh.width):
            for y in range(c.mesh.height):
                corner = left + x + 0.03, top + y + 0.03
                axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="#d5dae0", linewidth=0.8))
        numbered, side = len(c.cores) <= NUMBERED, ceil(sqrt(c.mesh.cores_per_tile))
        for row in (row for row in c.cores if row.chip == chip):
            _core(axes, row, left + row.x % c.mesh.width, top + row.y, side, shares, kind, numbered)
    axes.set_xlim(-0.1, across * (c.mesh.width + 0.8) - 0.7)
    axes.set_ylim(ceil(len(chips) / across) * (c.mesh.height + 1.0) - 0.9, -0.5)
    axes.set_aspect("equal")
    axes.axis("off")


def _core(
    axes: Axes,
    row: CoreRow,
    x: float,
    y: float,
    side: int,
    shares: dict[int, list[tuple[float, Any]]],
    kind: str,
    numbered: bool,
) -> None:
    """One square in its tile, cut from left to right, with the core's number."""
    size = 0.78 / side
    x, y = x + 0.08 + row.place % side * 0.84 / side, y + 0.08 + row.place // side * 0.84 / side
    whole, at = sum(share for share, _ in shares[row.core]), x
    for share, colour in shares[row.core]:
        part = Rectangle((at, y), size * share / whole, size, facecolor=colour, edgecolor="none", clip_on=False)
        part.set_gid(f"tip-{kind}-{row.core}")
        axes.add_patch(part)
        at += size * share / whole
    if not numbered:
        return
    colour = shares[row.core][0][1]
    ink = "white" if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] < 0.55 else "black"
    axes.text(x + size / 2, y + size / 2, str(row.core), ha="center", va="center", fontsize=5, color=ink)
