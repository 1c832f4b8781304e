"""What `snnhw.compare` returns: the tree of numbers that shows itself, in a terminal, a notebook, a file, a paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnhw import files
from snnhw.comparison.tree import Comparison
from snnhw.errors import DataError
from snnhw.extras import require
from snnhw.report import frames, tables
from snnhw.report.numbers import band, plain
from snnhw.report.tables import Table
from snnhw.report.verdict import verdict

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from snnhw.report.plots import Picture

PICTURES = (
    "accuracy", "energy", "rates", "raster", "confusion", "load", "population", "energy_map", "waiting", "links",
    "steps", "floorline",
)  # fmt: skip
"""Names of the pictures, as `figures` writes them."""


@dataclass(frozen=True, repr=False)
class ComparisonReport(Comparison):
    """A comparison with its views; the fields are those of `Comparison`, which are the keys of its JSON."""

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonReport:
        """The same numbers, with views."""
        return cls(**{f.name: getattr(comparison, f.name) for f in fields(comparison)})

    def __repr__(self) -> str:
        c = plain(self)
        head = f"{c.source.get('file', 'network')} on {c.target}: {c.samples} samples, T = {c.steps}, engine {c.engine}"
        price = (
            f"{band(c.energy.band, 'J')} per sample [{c.energy.grade}], "
            f"{band(c.latency.band, 's')} latency [{c.latency.grade}], {c.cores_used} cores"
        )
        more = "to_html(), to_markdown(), to_frame(NAME), to_latex(NAME), figures(DIR), plot_*() show more"
        warned = [f"WARNING {caution}" for caution in c.warnings[:4]]
        return "\n".join([head, *warned, *verdict(c), f"{price}.", *c.notes[:3], more])

    def _repr_html_(self) -> str:
        c = plain(self)
        said = "".join(f"<p>{escape(line)}</p>" for line in verdict(c))
        return said + _html(tables.summary(c)) + _html(tables.layers(c))

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained page; written to `path` if given."""
        require("report", "an HTML report")
        from snnhw.report.html import html

        return _written(html(self), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The report as Markdown; written to `path` if given."""
        from snnhw.report.markdown import markdown

        return _written(markdown(self), path)

    def to_frame(self, name: str = "layers") -> pandas.DataFrame:
        """One table as numbers (counts per sample, joules, seconds), which re-add to the JSON.

        Args:
            name: layers, energy, times, beside, costs, by_step, limits, links, projections, cores, overflow,
                convention_45nm, confusion, disagreements, what_if or constants.

        Raises:
            DataError: no such table, or pandas is not installed.
        """
        require("frames", "to_frame")
        import pandas

        return pandas.DataFrame(self._rows(name))

    def to_csv(self, name: str = "layers", path: str | Path | None = None) -> str:
        """The same table as CSV; written to `path` if given."""
        return _written(frames.to_csv(self._rows(name)), path)

    def to_latex(self, name: str = "layers", path: str | Path | None = None) -> str:
        """One table of the report as LaTeX with `booktabs`; written to `path` if given."""
        from snnhw.report.latex import latex

        return _written(latex(_named(tables.by_name(plain(self)), name)), path)

    def _rows(self, name: str) -> frames.Rows:
        _named(frames.FRAMES, name)
        return frames.rows(self, name)

    def figures(self, folder: str | Path) -> list[Path]:
        """Every picture as .pdf, .svg and .png, every table as .csv and .tex, for a paper; returns their paths."""
        made = self.figure_files(folder)
        files.write(made, folders=True)
        return list(made)

    def figure_files(self, folder: str | Path) -> dict[Path, str | bytes]:
        """What `figures` writes."""
        from snnhw.report.latex import latex

        made: dict[str, str | bytes] = {}
        for name in PICTURES:
            picture = self._picture(name)
            made |= {f"{name}.{kind}": picture.file(kind) for kind in ("pdf", "svg", "png")}
        made |= {f"{name}.csv": self.to_csv(name) for name in frames.FRAMES}
        made |= {f"{name}.tex": latex(table) for name, table in tables.by_name(plain(self)).items()}
        return {Path(folder) / name: content for name, content in made.items()}

    def _picture(self, name: str) -> Picture:
        require("report", "a picture")
        from snnhw.report import coremap, plots

        made: dict[str, Callable[[Comparison], Picture]] = {
            "load": coremap.load_map,
            "population": coremap.population_map,
            "energy_map": coremap.energy_map,
            "waiting": coremap.waiting_map,
            "links": coremap.link_map,
        }
        return (made.get(name) or getattr(plots, name))(plain(self))

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Accuracy of both networks and their agreement, in % of samples."""
        return self._picture("accuracy").on(ax)

    def plot_energy(self, ax: Axes | None = None) -> Axes:
        """Parts of the chip's energy per sample, each with its grade."""
        return self._picture("energy").on(ax)

    def plot_rates(self, ax: Axes | None = None) -> Axes:
        """Firing rate of every spiking layer, float beside quantised."""
        return self._picture("rates").on(ax)

    def plot_raster(self, ax: Axes | None = None) -> Axes:
        """Spikes of one sample (`compare(sample=)`) in both networks, some neurons of every population."""
        return self._picture("raster").on(ax)

    def plot_confusion(self, ax: Axes | None = None) -> Axes:
        """Predictions of the quantised network by label."""
        return self._picture("confusion").on(ax)

    def plot_load(self, ax: Axes | None = None) -> Axes:
        """The floor plan, cores coloured by their load."""
        return self._picture("load").on(ax)

    def plot_energy_map(self, ax: Axes | None = None) -> Axes:
        """The floor plan, cores coloured by what they spend."""
        return self._picture("energy_map").on(ax)

    def plot_waiting(self, ax: Axes | None = None) -> Axes:
        """The floor plan, cores coloured by the time for which the chip waits for them."""
        return self._picture("waiting").on(ax)

    def plot_links(self, ax: Axes | None = None) -> Axes:
        """The mesh, links coloured by their flits."""
        return self._picture("links").on(ax)

    def plot_steps(self, ax: Axes | None = None) -> Axes:
        """Time of each step of the stream, with generation and reception."""
        return self._picture("steps").on(ax)

    def plot_floorline(self, ax: Axes | None = None) -> Axes:
        """The busiest core of each kind of work against the time that it takes."""
        return self._picture("floorline").on(ax)

    def plot_population(self, ax: Axes | None = None) -> Axes:
        """The floor plan, cores coloured by the populations they hold."""
        return self._picture("population").on(ax)


def _named(found: Any, name: str) -> Any:
    if name not in found:
        raise DataError("no-such-table", "the comparison has no such table", needed=name, limit=", ".join(found))
    return found[name]


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        files.write({Path(path): text}, folders=True)
    return text


def _html(table: Table) -> str:
    """A table for a notebook, which brings its own style."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f"<b>{escape(table.title)}</b><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
