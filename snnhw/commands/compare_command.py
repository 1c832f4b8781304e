"""`snnhw compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnhw.commands.common import (
    GIVEN,
    Choice,
    Sections,
    bar,
    data_options,
    emit,
    input_options,
    json_option,
    kernels_told,
    provenance,
    require_outputs,
    samples_of,
)
from snnhw.commands.source_options import source_options
from snnhw.engines.choose import ENGINES
from snnhw.extras import require

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


@click.command("compare", cls=Sections)
@click.argument("source", type=GIVEN)
@click.argument("artifact", type=GIVEN)
@data_options("--data")
@click.option("--engine", type=Choice(list(ENGINES)), default="fast", show_default=True)
@click.option(
    "--html", type=click.Path(path_type=Path), default=None, help="Write a report with plots: one self-contained file."
)
@click.option("--markdown", type=click.Path(path_type=Path), default=None, help="Write the tables as Markdown.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder: every picture as PDF, SVG and PNG, every table as CSV and LaTeX.",
)
@click.option(
    "--judge",
    type=click.Choice(["classes", "values"]),
    default=None,
    help="How outputs are judged [values for one output or real y, else classes].",
)
@input_options
@source_options(with_input=True)
@json_option
def command(
    source: Path,
    artifact: Path,
    data: Path,
    engine: str,
    samples: int | None,
    preprocess: str | None,
    memory: int | None,
    html: Path | None,
    markdown: Path | None,
    figures: Path | None,
    judge: str | None,
    encode: str | None,
    steps: int | None,
    seed: int | None,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Count SOURCE (float) and ARTIFACT (integer) on the same samples; every energy carries the grade of its constants.

    \b
    Example:
      snnhw compare example:sew_resnet sew.snnhw --data example:fashion_mnist_500 --html report.html
    """
    from snnhw import api, files
    from snnhw.artifact import load
    from snnhw.report.terminal import show

    if html is not None or figures is not None:
        require("report", "compare --html and --figures")
    require_outputs((html, markdown), (source, artifact, data))
    if figures is not None:
        click.get_current_context().with_resource(files.claim([figures / "summary.tex"], folders=True))
    compiled = api.with_input(load(artifact), encode, steps, seed)
    given = samples_of(data, preprocess, memory).first(samples)
    said = replace(options, steps=steps)
    with kernels_told(), bar("compare") as progress:
        result = api.compare(
            source,
            compiled,
            given.x,
            given.y,
            engine=engine,
            options=said,
            memory=memory,
            progress=progress,
            judge=judge,
        )
    result = replace(result, provenance=provenance(source=source, artifact=artifact, data=data))
    made: dict[Path, files.Content] = {} if figures is None else {**result.figure_files(figures)}
    made |= {} if html is None else {html: result.to_html()}
    made |= {} if markdown is None else {markdown: result.to_markdown()}
    files.write(made)
    if machine:
        emit(result.to_dict())
        return
    show(result)
    for path in (html, markdown, figures):
        if path is not None:
            click.echo(f"report: {path}")
