"""`snnhw merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnhw.commands.common import GIVEN, Sections, file_hash, json_option, provenance
from snnhw.commands.pages import page_options, require_pages, show_pages
from snnhw.commands.run_command import arrays_of, show_summary, summary_of
from snnhw.errors import DataError

if TYPE_CHECKING:
    from snnhw.comparison.partial import Part
    from snnhw.report.objects import ComparisonReport


@click.command("merge", cls=Sections)
@click.argument("parts", type=GIVEN, nargs=-1, required=True)
@click.option("--artifact", type=GIVEN, default=None, help="Where the artifact is now [where compare read it].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Of run: write the arrays (.npz).")
@page_options
@json_option
def command(
    parts: tuple[Path, ...],
    artifact: Path | None,
    output: Path | None,
    html: Path | None,
    markdown: Path | None,
    figures: Path | None,
    tables: bool,
    machine: bool,
) -> None:
    """One result of all PARTS that compare --shard or run --shard wrote: what one process would have said.

    \b
    Example:
      snnhw compare example:sew_resnet sew.snnhw --data example:fashion_mnist_500 --shard 1/2 -o 1.npz
      snnhw compare example:sew_resnet sew.snnhw --data example:fashion_mnist_500 --shard 2/2 -o 2.npz
      snnhw merge 1.npz 2.npz --html report.html
    """
    from snnhw.comparison.partial import load, merged

    require_pages(html, markdown, figures, parts, output)
    whole = merged([load(path) for path in parts])
    if whole.of["kind"] == "run":
        if (html, markdown, figures, artifact) != (None, None, None, None):
            raise click.UsageError("parts of run make no report")
        from snnhw.data import save_arrays

        arrays = arrays_of(whole)
        summary = summary_of(arrays, whole.arrays.get("y"), whole.of["engine"], output)
        if output is not None:
            save_arrays(output, arrays)
        show_summary(summary, machine)
        return
    if output is not None:
        raise click.UsageError("parts of compare hold no arrays for -o")
    show_pages(_comparison(whole, artifact), html, markdown, figures, machine, tables)


def _comparison(whole: Part, artifact: Path | None) -> ComparisonReport:
    from dataclasses import replace

    from snnhw import api
    from snnhw.artifact import load

    path = Path(whole.of.get("path", "")) if artifact is None else artifact
    compiled = load(path)
    if file_hash(path) != whole.of["artifact"]:
        raise DataError(
            "other-artifact",
            "the parts were counted with another artifact",
            where=str(path),
            needed=whole.of["artifact"],
            limit=file_hash(path),
            hint="name the right one: --artifact FILE",
        )
    result = api.merge(api.with_input(compiled, *(whole.of["input"] or (None, None, None))), [whole])
    return replace(result, provenance=provenance(artifact=path))
