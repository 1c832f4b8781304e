"""The cores of every chip on their mesh, coloured by load and by population."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from snnhw.comparison.tree import Comparison, CoreRow
from snnhw.report.plots import STYLE, svg

PER_ROW = 2
"""Chips beside each other."""

LEGEND, COLUMNS = 24, 4
"""Populations named in the legend at most, and how many beside each other."""


def core_map(c: Comparison) -> str:
    """Two pictures under each other: load of every core, and the population that has most neurons on it."""
    chips = sorted({row.chip for row in c.cores})
    across = min(PER_ROW, len(chips))
    down = ceil(len(chips) / across)
    with mpl.rc_context(STYLE):
        rows = ceil(min(LEGEND, len(_palette(c))) / COLUMNS)
        figure = Figure(figsize=(9.6, 0.9 + 0.17 * rows + 2 * down * _height(c) * 8.0 / across), layout="constrained")
        upper, lower = figure.subplots(2, 1)
        colours = _by_load(c), _by_population(c)
        for axes, colour, title in zip((upper, lower), colours, ("load", "population"), strict=True):
            _draw(axes, c, chips, across, colour)
            axes.set_title(title, loc="left", fontsize=10)
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 100), "viridis")
        figure.colorbar(
            scale, ax=[upper, lower], label="load, % of the busiest core", shrink=0.4, anchor=(0, 0.95), fraction=0.04
        )
        patches = [Patch(color=colour, label=f" {name}") for name, colour in list(_palette(c).items())[:LEGEND]]
        below: Any = {"loc": "upper left", "bbox_to_anchor": (0.0, 0.0), "ncols": COLUMNS}
        lower.legend(handles=patches, frameon=False, fontsize=7, **below)
        return svg(figure)


def _height(c: Comparison) -> float:
    """Height of a chip's picture over its width."""
    return (c.mesh.height + 1.0) / (c.mesh.width + 0.8)


def _by_load(c: Comparison) -> dict[int, Any]:
    return {row.core: mpl.colormaps["viridis"](row.load) for row in c.cores}


def _by_population(c: Comparison) -> dict[int, Any]:
    palette = _palette(c)
    return {row.core: palette[_main(row)] for row in c.cores}


def _main(row: CoreRow) -> str:
    return max(row.populations, key=lambda name: row.populations[name])


def _palette(c: Comparison) -> dict[str, Any]:
    names = list(dict.fromkeys(_main(row) for row in c.cores))
    colours = [mpl.colormaps[name](i) for name in ("tab20", "tab20b") for i in range(20)]
    return {name: colours[i % len(colours)] for i, name in enumerate(names)}


def _draw(axes: Axes, c: Comparison, chips: list[int], across: int, colour: dict[int, Any]) -> None:
    """Tiles as outlines, cores in use as squares in them; y of the mesh grows downwards."""
    side = ceil(sqrt(c.mesh.cores_per_tile))
    for number, chip in enumerate(chips):
        left, top = number % across * (c.mesh.width + 0.8), number // across * (c.mesh.height + 1.0)
        axes.text(left, top - 0.12, f"chip {chip}", fontsize=8)
        for x in range(c.mesh.width):
            for y in range(c.mesh.height):
                corner = left + x + 0.03, top + y + 0.03
                axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="#d5dae0", linewidth=0.8))
        for row in (row for row in c.cores if row.chip == chip):
            column, line = (0.08 + part * 0.84 / side for part in (row.place % side, row.place // side))
            corner = left + row.x % c.mesh.width + column, top + row.y + line
            axes.add_patch(Rectangle(corner, 0.78 / side, 0.78 / side, facecolor=colour[row.core], edgecolor="none"))
    axes.set_xlim(-0.1, across * (c.mesh.width + 0.8) - 0.7)
    axes.set_ylim(ceil(len(chips) / across) * (c.mesh.height + 1.0) - 0.9, -0.5)
    axes.set_aspect("equal")
    axes.axis("off")
