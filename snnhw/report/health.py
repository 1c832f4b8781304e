"""Health of a training as ONE self-contained HTML file: rates, idle neurons and gradients by layer and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from snnhw import files
from snnhw.report.plots import FLOAT, QUANTIZED, drawn

Row = dict[str, Any]
"""One epoch: ``epoch`` and, per quantity, a list with an entry for each spiking layer."""

LINES = 8
"""Epochs drawn at most, the last always among them."""
DECADES = 1e3
"""Least range of the gradient axis."""
COLUMNS = {
    "rate": ("rate", "{:.1%}"),
    "dead": ("dead", "{:.1%}"),
    "saturated": ("saturated", "{:.1%}"),
    "input_gradient": ("gradient at its input", "{:.2e}"),
    "weight_gradient": ("gradient of its weights", "{:.2e}"),
    "flat": ("spikes with a cut gradient", "{:.1%}"),
}
"""Heading and format of each quantity of the table; one that no layer has is left out."""
NOTE = (
    "L2 norm of the loss's gradient at each layer's input currents. Level: it reaches the first layer as it left the "
    "last; falling to the left: it vanishes on its way back; rising: it explodes."
)


def health_html(title: str, epochs: Sequence[Row], warnings: Sequence[str]) -> str:
    """The page; ``warnings`` are those of the last epoch."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (resources.files("snnhw.report") / "health.html.j2").read_text(encoding="utf-8")
    last = epochs[-1]
    pictures = [
        ("Firing rate", _by_epoch(epochs, "rate", "spikes / (neurons · T)"), "The darker, the later the epoch."),
        ("Dead and saturated neurons", _idle(last), "Dead: never fired on the batch. Saturated: fired at every step."),
        ("Gradients", _by_epoch(epochs, "input_gradient", "gradient norm", log=True), NOTE),
    ]
    return environment.from_string(source).render(
        title=title,
        warnings=warnings,
        pictures=[(heading, Markup(picture), note) for heading, picture, note in pictures if last["layer"]],
        epoch=last["epoch"],
        columns=["layer", *(COLUMNS[name][0] for name in _shown(last))],
        rows=_rows(last),
    )


def write_health(path: str | Path, title: str, epochs: Sequence[Row], warnings: Sequence[str]) -> None:
    """Write the file in one go."""
    files.write({Path(path): health_html(title, epochs, warnings)}, folders=True)


def _shown(row: Row) -> list[str]:
    return [name for name in COLUMNS if any(value is not None for value in row[name])]


def _rows(row: Row) -> list[tuple[str, ...]]:
    columns = [
        ["-" if value is None else COLUMNS[name][1].format(value) for value in row[name]] for name in _shown(row)
    ]
    return list(zip(row["layer"], *columns, strict=True))


def _chosen(epochs: Sequence[Row]) -> list[Row]:
    """Evenly spread, the first and the last included."""
    if len(epochs) <= LINES:
        return list(epochs)
    return [epochs[round(i * (len(epochs) - 1) / (LINES - 1))] for i in range(LINES)]


def _by_epoch(epochs: Sequence[Row], name: str, label: str, log: bool = False) -> str:
    """One line an epoch over the layers; a gradient of 0 has no place on a log axis and leaves a gap."""

    def draw(axes: Axes) -> None:
        chosen = _chosen(epochs)
        for place, row in enumerate(chosen):
            shade = mpl.colormaps["viridis_r"](0.15 + 0.85 * (place + 1) / len(chosen))
            values = [float(value) if value > 0 or not log else float("nan") for value in row[name]]
            axes.plot(range(1, len(values) + 1), values, color=shade, marker="o", ms=3, label=f"epoch {row['epoch']}")
        if log:
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, high / DECADES), high)  # a factor of two is no slope worth a look
        else:
            axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        _layers(axes, epochs[-1])

    return drawn(draw, 8.4, 3.3)


def _idle(row: Row) -> str:
    def draw(axes: Axes) -> None:
        places = range(1, len(row["layer"]) + 1)
        axes.bar([p - 0.2 for p in places], row["dead"], 0.38, color=FLOAT, label="dead")
        axes.bar([p + 0.2 for p in places], row["saturated"], 0.38, color=QUANTIZED, label="saturated")
        axes.set_ylim(0, 1)
        axes.set_ylabel("share of neurons")
        axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        _layers(axes, row)

    return drawn(draw, 8.4, 3.0)


def _layers(axes: Axes, row: Row) -> None:
    """Names where there is room for them, else numbers."""
    names = row["layer"]
    if len(names) <= 16:
        axes.set_xticks(range(1, len(names) + 1), names, rotation=40, ha="right")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("spiking layer, from the input")
