"""A comparison as ONE self-contained HTML file: pictures inlined, no link.

Its one script makes tables sortable (sortable-tablesort, 3 kB, chosen for its size and keyboard use); without it the
page says the same.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from snnhw import files
from snnhw.comparison.tree import Comparison
from snnhw.judge import rmse
from snnhw.report import plots, tables
from snnhw.report.coremap import energy_map, link_map, load_map, population_map, waiting_map
from snnhw.report.numbers import between, magnitude, percent, plain, si
from snnhw.report.verdict import verdict

LONG = 24
"""Rows of a table that is folded until asked for."""


def shipped(name: str) -> str:
    """A file of this package."""
    return (resources.files("snnhw.report") / name).read_text(encoding="utf-8")


def html(comparison: Comparison) -> str:
    """The page."""
    comparison = plain(comparison)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["magnitude"] = magnitude
    source, style, script = (shipped(name) for name in ("report.html.j2", "report.css", "sortable.min.js"))
    page = environment.from_string(source).render(
        c=comparison,
        title=f"{comparison.source.get('file', 'network')} on {comparison.target}",
        cards=_cards(comparison),
        verdict=verdict(comparison),
        overflow=tables.saturations(comparison) if comparison.saturations else "",
        pictures={name: Markup(picture) for name, picture in _pictures(comparison).items()},
        tables=tables.by_name(comparison),
        sample=tables.shown(comparison),
        long=LONG,
        script=Markup(script),
        style=Markup(style),
    )
    return re.sub(r"https?://", "", page)  # a source may cite an address: nothing in the file may lead outside


def write_html(comparison: Comparison, path: str | Path) -> None:
    """Write the file in one go (`files.write`)."""
    files.write({Path(path): html(comparison)}, folders=True)


def _pictures(c: Comparison) -> dict[str, str]:
    made = {
        "accuracy": plots.accuracy(c),
        "energy": plots.energy(c),
        "rates": plots.rates(c),
        "raster": plots.raster(c),
        "load": load_map(c),
        "population": population_map(c),
        "energy_map": energy_map(c),
        "waiting": waiting_map(c),
        "links": link_map(c),
        "steps": plots.steps(c),
        "floorline": plots.floorline(c),
    }
    if c.decisions is not None and c.decisions.quantized:
        made["confusion"] = plots.confusion(c)
    return {name: picture.svg(name) for name, picture in made.items()}


def _cards(c: Comparison) -> list[tuple[str, str, str]]:
    """Headline numbers: name, value, what it rests on."""
    throughput = f"{tables.rate_told(c)} in the pipeline"
    return [
        *_judged(c),
        ("energy per sample", si(c.energy.total_j, "J"), f"{between(c.energy.band, 'J')}; grade: {c.energy.grade}"),
        (
            "latency",
            si(c.latency.seconds, "s"),
            f"{between(c.latency.band, 's')}; {c.latency.steps} steps; grade: {c.latency.grade}; {throughput}",
        ),
        ("synops per sample", si(c.synops, "").strip(), f"{si(c.ann_baseline.macs, '').strip()} MACs in the dense ANN"),
        ("cores", str(c.cores_used), f"{c.chips_used} chip{'s' if c.chips_used > 1 else ''} of {c.target}"),
    ]


def _judged(c: Comparison) -> list[tuple[str, str, str]]:
    """How good the outputs are, by the rule that they are judged by."""
    if c.agreement is None:
        rows = (
            []
            if c.values is None
            else [("to the float network", c.values.quantized), ("to labels", c.values.quantized_labels)]
        )
        return [(f"RMSE, quantised {name}", f"{rmse(found):.4g}", c.rule) for name, found in rows if found]
    accuracy = percent(c.quantized.accuracy) if c.quantized.accuracy is not None else "no labels"
    against = f"float {percent(c.float_.accuracy)}" if c.float_.accuracy is not None else "give y to get it"
    return [
        ("accuracy, quantised", accuracy, against),
        ("agreement", percent(c.agreement), f"{c.samples} samples, engine {c.engine}"),
    ]
