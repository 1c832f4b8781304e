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
    file_hash,
    input_options,
    json_option,
    kernels_told,
    provenance,
    samples_of,
    save_part,
    shard_option,
)
from snnhw.commands.pages import page_options, require_pages, show_pages
from snnhw.commands.source_options import source_options
from snnhw.engines.choose import ENGINES

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


@click.command("compare", cls=Sections)
@click.argument("source", type=GIVEN)
@click.argument("artifact", type=GIVEN)
@data_options("--data")
@shard_option
@click.option("--engine", type=Choice(list(ENGINES)), default="fast", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="The part's file (with --shard).")
@page_options
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
    shard: tuple[int, int] | None,
    output: Path | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
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
    from snnhw import api
    from snnhw.artifact import load

    if (shard is None) != (output is None) or (shard is not None and (html, markdown, figures) != (None, None, None)):
        raise click.UsageError("--shard I/N and -o FILE belong together; reports are made by snnhw merge")
    require_pages(html, markdown, figures, (source, artifact, data), output)
    compiled = api.with_input(load(artifact), encode, steps, seed)
    given = samples_of(data, preprocess, memory).first(samples)
    of = {"artifact": file_hash(artifact), "data": given.digest, "input": [encode, steps, seed]} if shard else None
    said = replace(options, steps=steps)
    with kernels_told(), bar("compare") as progress:
        counted = api.count(
            source,
            compiled,
            given.x,
            given.y,
            engine=engine,
            options=said,
            memory=memory,
            progress=progress,
            judge=judge,
            shard=shard or (1, 1),
            of=of,
            force=force,
        )
    if output is not None:
        save_part(replace(counted, of={**counted.of, "path": str(artifact)}), output, machine)
        return
    result = replace(api.merge(compiled, [counted]), provenance=provenance(source=source, artifact=artifact, data=data))
    show_pages(result, html, markdown, figures, machine)
