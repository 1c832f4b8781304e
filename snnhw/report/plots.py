"""Pictures of a comparison: on axes, as SVG text that can stand inside an HTML page, as files for a paper."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import IO, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from snnhw.comparison.tree import Comparison
from snnhw.judge import rmse
from snnhw.report.numbers import band, si

FLOAT, QUANTIZED, PLAIN = "#8097b1", "#d9722e", "#3f7f93"
INK, SOFT, LINE = "#2b313b", "#4a5260", "#99a1ab"
GAP = 4
"""Rows between populations of the raster."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "snnhw",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
}


PAPER: Any = {**STYLE, "svg.fonttype": "path", "pdf.fonttype": 42, "savefig.dpi": 300}
"""A file stands alone: glyphs as outlines in SVG, embedded as TrueType in PDF."""


@dataclass(frozen=True)
class Picture:
    """What to draw on axes, and how large (inches); `tips` are tooltips by the `gid` of what they belong to."""

    draw: Callable[[Axes], None]
    width: float
    height: float
    tips: dict[str, str] | None = None

    def on(self, axes: Axes | None = None) -> Axes:
        """Draws on these axes, or on those of a new pyplot figure, which a notebook shows; returns them."""
        with mpl.rc_context(STYLE):
            if axes is None:
                from matplotlib import pyplot

                axes = pyplot.subplots(figsize=(self.width, self.height), layout="constrained")[1]
            self.draw(axes)
        return axes

    def svg(self, name: str = "picture") -> str:
        """An <svg> element for a page: deterministic, without a link to anywhere, ink in the page's own colours; `name`
        makes its ids differ from those of the page's other pictures."""
        out = io.StringIO()
        self._write(out, "svg", STYLE)
        text = out.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)  # HTML needs none
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
        text = re.sub(r' d="[^"]*"', _shorter, text)
        for colour, own in ((INK, "ink"), (SOFT, "soft"), (LINE, "axis")):
            text = text.replace(colour, f"var(--{own}, {colour})")
        text = re.sub(r'<g id="(tip-[^"]*)">', self._tip, text)
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", text)

    def _tip(self, group: re.Match[str]) -> str:
        return f"{group.group()}<title>{escape((self.tips or {})[group[1]])}</title>"

    def file(self, kind: str) -> bytes:
        """The bytes of a .pdf, .svg or .png that stands alone; the same picture gives the same bytes."""
        out = io.BytesIO()
        self._write(out, kind, PAPER)
        return out.getvalue()

    def _write(self, out: IO[Any], kind: str, style: Any) -> None:
        dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind, "Software")
        with mpl.rc_context(style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the page's reader has other fonts
            figure = Figure(figsize=(self.width, self.height), layout="constrained")
            self.draw(figure.add_subplot())
            figure.savefig(out, format=kind, transparent=kind != "png", metadata={dated: None})


def _shorter(path: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point: a page of thousands of cores and spikes is a third smaller."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path.group()).replace("\n", "")


def drawn(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """SVG of one picture, inches."""
    return Picture(draw, width, height).svg()


def accuracy(c: Comparison) -> Picture:
    """Accuracy of both networks (with labels) and their agreement; of outputs that are values their RMSE."""
    if c.agreement is None:
        return _errors(c)
    values = {"float": c.float_.accuracy, "quantised": c.quantized.accuracy, "agreement": c.agreement}
    colours = {"float": FLOAT, "quantised": QUANTIZED, "agreement": PLAIN}
    shown = [(name, 100 * value) for name, value in values.items() if value is not None]

    def draw(axes: Axes) -> None:
        places = np.arange(len(shown))[::-1]
        axes.barh(places, [value for _, value in shown], color=[colours[name] for name, _ in shown], height=0.62)
        for place, (_, value) in zip(places, shown, strict=True):
            inside = value > 25  # a short bar has no room for its number
            at, side, colour = (value - 1.5, "right", "white") if inside else (value + 1.5, "left", INK)
            axes.text(at, place, f"{value:.2f} %", ha=side, va="center", color=colour, weight="bold")
        axes.set_yticks(places, [name for name, _ in shown])
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of samples")

    return Picture(draw, 5.2, 0.5 + 0.42 * len(shown))


def _errors(c: Comparison) -> Picture:
    found = c.values
    rows = (
        {}
        if found is None
        else {
            "quantised to float": found.quantized,
            "float to labels": found.float_labels,
            "quantised to labels": found.quantized_labels,
        }
    )
    shown = [(name, rmse(errors)) for name, errors in rows.items() if errors]

    def draw(axes: Axes) -> None:
        places = np.arange(len(shown))[::-1]
        axes.barh(places, [value for _, value in shown], color=PLAIN, height=0.62)
        for place, (_, value) in zip(places, shown, strict=True):
            axes.text(value, place, f"  {value:.4g}", va="center", weight="bold")
        axes.set_yticks(places, [name for name, _ in shown])
        axes.set_xlim(0, 1.4 * max([value for _, value in shown], default=0.0) or 1.0)
        axes.set_xlabel("RMSE over all outputs, in the source's units")

    return Picture(draw, 5.2, 0.5 + 0.42 * max(len(shown), 1))


def energy(c: Comparison) -> Picture:
    """Parts of the chip's energy, largest on top, each with its grade."""
    parts = sorted((p.joules, name, p) for name, p in c.energy.parts.items() if p.joules > 0)
    scale, unit = _scaled(max((joules for joules, *_ in parts), default=1.0), "J")
    widest = max((part.band.high for *_, part in parts), default=1.0) / scale

    def draw(axes: Axes) -> None:
        axes.barh(range(len(parts)), [joules / scale for joules, *_ in parts], color=PLAIN, height=0.66)
        for place, (_, _, part) in enumerate(parts):
            axes.plot([part.band.low / scale, part.band.high / scale], [place, place], color=INK, linewidth=1)
            axes.text(
                part.band.high / scale, place, f"  {band(part.band, 'J')} [{part.grade}]", va="center", fontsize=8
            )
        axes.set_yticks(range(len(parts)), [name.replace("_", " ") for _, name, _ in parts])
        axes.set_xlim(0, 2.1 * widest)
        axes.set_xlabel(f"{unit} per sample; lines: from low to high")

    return Picture(draw, 6.4, 0.7 + 0.28 * max(len(parts), 1))


def _scaled(largest: float, unit: str) -> tuple[float, str]:
    for scale, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if largest >= scale:
            return scale, prefix + unit
    return 1e-12, f"p{unit}"


def steps(c: Comparison) -> Picture:
    """Time of each of the T steps of the stream with its band; generation, reception and barrier under it."""
    rows = c.steps_trace
    scale, unit = _scaled(max((row.seconds.high for row in rows), default=1.0), "s")

    def draw(axes: Axes) -> None:
        at = [row.step for row in rows]
        low, high = ([getattr(row.seconds, end) / scale for row in rows] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=LINE, alpha=0.25, linewidth=0, label="low to high")
        for name, colour, values in (
            ("step", INK, [row.seconds.likely for row in rows]),
            ("generation", FLOAT, [row.generation_s for row in rows]),
            ("reception", QUANTIZED, [row.reception_s for row in rows]),
            ("blocked", PLAIN, [row.blocked_s for row in rows]),
        ):
            if any(values):
                axes.plot(at, [value / scale for value in values], color=colour, marker="o", ms=3, label=name)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{unit} (mean of samples)")
        axes.set_xlabel("step of the stream")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, ncols=5, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return Picture(draw, 8.4, 3.2)


def floorline(c: Comparison) -> Picture:
    """Operations of the busiest core of each kind of work against their time: the highest sets the step."""
    rows = [row for row in c.floor if row.core is not None and row.operations > 0]
    barrier = next((row.seconds for row in c.floor if row.core is None), 0.0)
    step = c.throughput.seconds_per_sample / c.steps
    least = min([row.operations for row in rows], default=1.0)
    most = max([row.operations for row in rows], default=1.0)
    span = np.array([least / 3, 3 * most])

    def draw(axes: Axes) -> None:
        for row, colour in zip(rows, (QUANTIZED, PLAIN, FLOAT, "#7a6a9e"), strict=False):
            axes.plot(span, span * row.seconds / row.operations, color=colour, linewidth=0.8)
            axes.plot([row.operations], [row.seconds], color=colour, marker="o", linestyle="none")
            said = f"  {row.kind} of core {row.core} ({row.population})"
            axes.annotate(said, (row.operations, row.seconds), fontsize=8, color=INK, va="top")
        axes.axhline(step, color=INK, linewidth=1, label="mean step")
        if barrier:
            axes.axhline(barrier, color=SOFT, linewidth=1, linestyle="--", label="barrier")
        axes.set(xscale="log", yscale="log", xlabel="operations of a step on the busiest core", ylabel="time of a step")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_formatter(lambda value, _: si(value, "s"))
        axes.legend(frameon=False, ncols=2, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return Picture(draw, 8.4, 3.8)


def rates(c: Comparison) -> Picture:
    """Firing rate of every spiking layer, float beside quantised."""
    names = [layer.name for layer in c.quantized.layers]

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))
        axes.bar(places - 0.2, [layer.rate for layer in c.float_.layers], 0.38, color=FLOAT, label="float")
        axes.bar(places + 0.2, [layer.rate for layer in c.quantized.layers], 0.38, color=QUANTIZED, label="quantised")
        axes.set_xticks(places, names, rotation=40 if len(names) > 4 else 0, ha="right" if len(names) > 4 else "center")
        axes.set_ylabel("spikes / (neurons · T)")
        axes.legend(frameon=False, ncols=2, loc="upper right")
        axes.margins(y=0.2)

    return Picture(draw, min(11.0, max(4.6, 0.62 * len(names) + 1.6)), 3.1)


def raster(c: Comparison) -> Picture:
    """Spikes of the shown sample, float on the left, integers on the right: steps to the right, some neurons of every
    population from top to bottom. A spike that the other side lacks has a colour of its own."""
    heights = [len(population.neurons) for population in c.raster]
    shift = c.steps + max(1.0, 0.06 * c.steps)

    def draw(axes: Axes) -> None:
        top, ticks = 0, []
        for population, height in zip(c.raster, heights, strict=True):
            row = {neuron: k for k, neuron in enumerate(population.neurons)}
            ours, theirs = set(population.events), set(population.float_ or ())
            common = ours & theirs if population.float_ is not None else ours
            for spikes, left, colour in (
                (theirs & common, 0.0, PLAIN), (theirs - common, 0.0, FLOAT),
                (common, shift, PLAIN), (ours - common, shift, QUANTIZED),
            ):  # fmt: skip
                axes.add_patch(_boxes([(left + t - 0.46, top + row[neuron]) for t, neuron in sorted(spikes)], colour))
            ticks.append((top + height / 2, f"{population.name} ({height})"))
            top += height + GAP
            axes.axhline(top - GAP / 2, color="#d9dde2", linewidth=0.6)
        axes.axvline(c.steps - 0.5 + (shift - c.steps) / 2, color="#d9dde2", linewidth=0.6)
        axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
        axes.set_ylim(max(top, 1), -GAP / 2)
        axes.set_xlim(-0.5, shift + c.steps - 0.5)
        steps = [int(t) for t in MaxNLocator(6, integer=True).tick_values(0, max(c.steps - 1, 1)) if 0 <= t < c.steps]
        axes.set_xticks([left + t for left in (0, shift) for t in steps], [str(t) for t in steps] * 2)
        axes.set_xlabel("sample step: float network left, integers right")
        colours = {"in both": PLAIN, "in float only": FLOAT, "in integers only": QUANTIZED}
        handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
        axes.legend(handles=handles, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return Picture(draw, 8.4, min(14.0, 1.2 + 0.0075 * sum(heights) + 0.08 * len(heights)))


CLASSES = 60
"""Classes of a confusion matrix that is drawn."""


def confusion(c: Comparison) -> Picture:
    """Predictions of the quantised network by label, as shares of each label's samples; empty without labels."""
    cells = () if c.decisions is None else c.decisions.quantized
    size = 1 + max((max(cell.label, cell.prediction) for cell in cells), default=0)

    def draw(axes: Axes) -> None:
        if not cells or size > CLASSES:
            axes.text(0.5, 0.5, "no labels" if not cells else f"{size} classes: see the tables", ha="center")
            axes.axis("off")
            return
        counts = np.zeros((size, size))
        for cell in cells:
            counts[cell.label, cell.prediction] = cell.samples
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.pcolormesh(np.arange(size + 1) - 0.5, np.arange(size + 1) - 0.5, shares, cmap="Blues", vmin=0, vmax=1)
        for cell in cells if size <= 20 else ():
            ink = "white" if shares[cell.label, cell.prediction] > 0.5 else INK
            axes.text(cell.prediction, cell.label, str(cell.samples), ha="center", va="center", fontsize=7, color=ink)
        axes.set(xlabel="prediction", ylabel="label")
        axes.invert_yaxis()
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=20))

    side = min(7.0, 1.6 + 0.32 * size) if cells and size <= CLASSES else 1.2
    return Picture(draw, side + 0.4, side)


def _boxes(corners: Sequence[tuple[float, float]], colour: str) -> PathPatch:
    """Spikes of one population, 0.92 steps wide and one neuron high, as a single path: vectors, and few of them."""
    found = np.asarray(corners, dtype=float).reshape(-1, 1, 2) + np.array(
        [[0, 0], [0.92, 0], [0.92, 1], [0, 1], [0, 0]]
    )
    codes = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], dtype=np.uint8)
    path = Path(found.reshape(-1, 2), np.tile(codes, len(corners)))
    return PathPatch(path, facecolor=colour, edgecolor="none", linewidth=0)
