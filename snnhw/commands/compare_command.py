"""`snnhw compare`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw import files
from snnhw.commands.common import (
    GIVEN,
    Choice,
    Sections,
    bar,
    cluster_options,
    data_options,
    file_hash,
    input_options,
    inputs_of,
    json_option,
    kernels_told,
    provenance,
    samples_of,
    save_part,
    shard_option,
    stages,
)
from snnhw.commands.pages import page_options, require_pages, show_pages
from snnhw.commands.source_options import source_options
from snnhw.engines.choose import ENGINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnhw.comparison.partial import Part
    from snnhw.data import Samples
    from snnhw.frontends.options import SourceOptions


@click.command("compare", cls=Sections)
@click.argument("source", type=GIVEN)
@click.argument("artifact", type=GIVEN)
@data_options("--data")
@shard_option()
@cluster_options
@click.option("--engine", type=Choice(list(ENGINES)), default="fast", show_default=True)
@click.option("--what-if", "what_if", is_flag=True, help="Also compile for the other targets and with fewer bits.")
@click.option("--calibrate", type=GIVEN, default=None, help="Training samples for --what-if [those of the source].")
@click.option(
    "--neurobench",
    type=click.Path(path_type=Path),
    default=None,
    help="Write NeuroBench's metrics, by its names and definitions, as JSON.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="The part's file (with --shard).")
@page_options
@click.option(
    "--timing",
    type=click.Choice(["analytic", "event"]),
    default="analytic",
    show_default=True,
    help="Model of times: work of the busiest core, or single messages on the mesh.",
)
@click.option(
    "--boundary",
    type=click.Choice(["core", "chip", "board"]),
    default="core",
    show_default=True,
    help="What times and energies hold: cores in use, their chips, or the host's part too.",
)
@click.option(
    "--show-sample",
    "sample",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Whose spikes the report draws, float beside integer: a number from 0.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    default=None,
    help="Times of every step of every sample, and the core that is waited for (.npz).",
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
    what_if: bool,
    calibrate: Path | None,
    neurobench: Path | None,
    samples: int | None,
    shard: tuple[int, int] | None,
    cluster: str | None,
    tls: tuple[Path, Path, Path] | None,
    output: Path | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
    html: Path | None,
    markdown: Path | None,
    figures: Path | None,
    tables: bool,
    timing: str,
    boundary: str,
    sample: int,
    trace: Path | None,
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

    if shard is not None and cluster is not None:
        raise click.UsageError("--shard and --cluster are two ways to the same")
    if shard is not None and (what_if or neurobench is not None):
        raise click.UsageError("--what-if and --neurobench look at all samples: not with --shard")
    if calibrate is not None and not what_if:
        raise click.UsageError("--calibrate is for --what-if: the artifact's integers are made")
    if (shard is None) != (output is None) or (shard is not None and (html, markdown, figures) != (None, None, None)):
        raise click.UsageError("--shard I/N and -o FILE belong together; reports are made by snnhw merge")
    if shard is not None and trace is not None:
        raise click.UsageError("--trace is of a whole run, not of a shard")
    read = inputs_of(source, options)
    inputs = (*read.values(), artifact, data, calibrate)
    require_pages(html, markdown, figures, inputs, output or trace, neurobench)
    given = samples_of(data, preprocess, memory).first(samples)
    batch = api.batch_of(api.with_input(load(artifact), encode, steps, seed), memory)
    fixed: dict[str, Any] = {
        "engine": engine,
        "asked": (encode, steps, seed),
        "options": replace(options, steps=steps),
        "judge": judge,
        "timing": timing,
        "boundary": boundary,
        "sample": sample,
        "trace": trace is not None,
        "force": force,
    }
    paths = {"source": source, "artifact": artifact}
    if cluster is None:
        with kernels_told(), bar("compare") as progress:
            how = {**fixed, "batch": batch, "memory": memory, "progress": progress}
            whole = part_of(paths, given, shard or (1, 1), given.digest, **how)
    else:
        from snnhw.commands.cluster import run_on

        whole = run_on(cluster, tls, part_of, paths, (data, preprocess, memory), given, fixed, batch)
    if trace is not None:
        from snnhw.data import save_arrays

        save_arrays(trace, whole.under("trace"))
    if output is not None:
        save_part(replace(whole, of={**whole.of, "path": str(artifact)}), output, machine)
        return
    compiled = api.with_input(load(artifact), encode, steps, seed)
    result = replace(api.merge(compiled, [whole]), provenance=provenance(**read, artifact=artifact, data=data))
    if what_if:
        from snnhw.variants import what_if as tried

        training = None if calibrate is None else samples_of(calibrate)
        scales = {} if training is None else {"calibrate": training.held, "labels": training.y}
        with stages() as stage:
            how = {"options": fixed["options"], "memory": memory, "force": force, "stage": stage, **scales}
            result = tried(result, source, compiled, given.x, given.y, **how)
    made: dict[Path, files.Content] = {}
    if neurobench is not None:
        with bar("neurobench") as progress:
            how = {"options": fixed["options"], "memory": memory, "progress": progress}
            metrics = api.neurobench(result, source, compiled, given.x, **how)
        made[neurobench] = json.dumps(metrics, indent=2) + "\n"
    show_pages(result, html, markdown, figures, machine, tables, made)


def part_of(
    files: Mapping[str, Path],
    given: Samples,
    shard: tuple[int, int],
    digest: str,
    *,
    asked: tuple[str | None, int | None, int | None],
    **how: Any,
) -> Part:
    """What both networks do on a shard; here, or on a worker."""
    from snnhw import api
    from snnhw.artifact import load

    of = {"artifact": file_hash(files["artifact"]), "data": digest, "input": list(asked)}
    compiled = api.with_input(load(files["artifact"]), *asked)
    return api.count(files["source"], compiled, given.x, given.y, shard=shard, of=of, **how)
