"""What `compare` and `merge` make of a comparison: pages, figures, the terminal, JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from snnhw import files
from snnhw.commands.common import emit, require_outputs
from snnhw.extras import require

if TYPE_CHECKING:
    from snnhw.report.objects import ComparisonReport

F = TypeVar("F", bound=Callable[..., Any])


def page_options(function: F) -> F:
    """--html, --markdown, --figures, --tables."""
    place = click.Path(path_type=Path)
    for option in (
        click.option(
            "--figures",
            type=place,
            default=None,
            help="Folder: every picture as PDF, SVG and PNG, every table as CSV and LaTeX.",
        ),
        click.option("--markdown", type=place, default=None, help="Write the tables as Markdown."),
        click.option("--tables", is_flag=True, help="Print every table, not the summary alone."),
        click.option("--html", type=place, default=None, help="Write a report with plots: one self-contained file."),
    ):
        function = option(function)
    return function


def require_pages(
    html: Path | None, markdown: Path | None, figures: Path | None, inputs: Sequence[Path | None], *others: Path | None
) -> None:
    """Refuse, before any work, what cannot be drawn or written."""
    if html is not None or figures is not None:
        require("report", "compare --html and --figures")
    require_outputs((html, markdown, *others), inputs)
    if figures is not None:
        click.get_current_context().with_resource(files.claim([figures / "summary.tex"], folders=True))


def show_pages(
    result: ComparisonReport,
    html: Path | None,
    markdown: Path | None,
    figures: Path | None,
    machine: bool,
    everything: bool,
    others: Mapping[Path, files.Content] = MappingProxyType({}),
) -> None:
    """Write the pages that were asked for and the others, then show the comparison."""
    made: dict[Path, files.Content] = {**others, **({} if figures is None else result.figure_files(figures))}
    made |= {} if html is None else {html: result.to_html()}
    made |= {} if markdown is None else {markdown: result.to_markdown()}
    files.write(made)
    if machine:
        emit(result.to_dict())
        return
    from snnhw.report.terminal import show

    show(result, everything=everything)
    for path in (html, markdown, figures, *others):
        if path is not None:
            click.echo(f"report: {path}")
