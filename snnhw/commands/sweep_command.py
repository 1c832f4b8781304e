"""`snnhw sweep`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
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
    emit,
    file_hash,
    inputs_of,
    json_option,
    kernels_told,
    require_outputs,
    samples_of,
    set_option,
    shard_option,
    stages,
)
from snnhw.commands.compare_command import part_of
from snnhw.commands.source_options import source_options
from snnhw.engines.choose import ENGINES
from snnhw.errors import SnnhwError
from snnhw.extras import require

if TYPE_CHECKING:
    from snnhw.artifact import Artifact
    from snnhw.comparison.points import Point
    from snnhw.comparison.tree import Comparison
    from snnhw.frontends.options import SourceOptions
    from snnhw.pipeline import Pipeline


def _words(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Said one by one or with commas between; widths by layer, which have commas of their own, one by one."""
    return tuple(word.strip() for said in given for word in ([said] if "=" in said else said.split(",")))


def _among(*names: str) -> Any:
    def read(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(Choice(names).convert(word, param, ctx) for word in _words(ctx, param, given))

    return read


def _numbers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[int, ...]:
    kind: click.ParamType[int] = click.IntRange(min=1)
    return tuple(kind(word, param, ctx) for word in _words(ctx, param, given))


@click.command("sweep", cls=Sections)
@click.argument("source", type=GIVEN)
@data_options("--data")
@click.option("--target", "targets", multiple=True, required=True, callback=_words, help="Targets: loihi1,loihi2.")
@click.option(
    "--weight-bits",
    multiple=True,
    callback=_words,
    help="Widths: 8,6,4; by layer (conv1=8,*=4) with an option of its own each.",
)
@click.option("--steps", multiple=True, callback=_numbers, help="Numbers of steps T: 4,8 [the source's].")
@click.option(
    "--map",
    "maps",
    multiple=True,
    default=("balanced",),
    callback=_among("fewest-cores", "balanced", "fastest"),
    help="Placements: fewest-cores,balanced,fastest.",
)
@click.option(
    "--scale",
    "scales",
    multiple=True,
    default=("calibrated",),
    callback=_among("calibrated", "weights"),
    help="How integers are scaled: calibrated on samples, or by the weights alone.",
)
@click.option("--calibrate", type=GIVEN, default=None, help="Training samples (.npz) for the scale search.")
@set_option
@click.option("--engine", type=Choice(list(ENGINES)), default="fast", show_default=True)
@click.option("--timing", type=Choice(["analytic", "event"]), default="analytic", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder: every point and its artifact, kept for later sweeps; sweep.csv, .json and pictures.",
)
@shard_option("Measure only part I of N (from 1) of the points, into the folder of -o, which all parts may share.")
@cluster_options
@source_options(without={"steps"})
@json_option
def command(
    source: Path,
    data: Path,
    targets: tuple[str, ...],
    weight_bits: tuple[str, ...],
    steps: tuple[int, ...],
    maps: tuple[str, ...],
    scales: tuple[str, ...],
    calibrate: Path | None,
    settings: dict[str, Any],
    engine: str,
    timing: str,
    samples: int | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
    output: Path,
    shard: tuple[int, int] | None,
    cluster: str | None,
    tls: tuple[Path, Path, Path] | None,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Compile SOURCE in all combinations of targets, widths, T, placements and scales, and compare each on the same
    samples: accuracy against energy and time.

    What the folder already holds is not measured again: a sweep that was stopped goes on, and --shard I/N (into one
    folder that all see) measures a part of the points; the same command without it then makes the tables.

    \b
    Example:
      snnhw sweep example:sew_resnet --data example:fashion_mnist_500 --calibrate example:fashion_mnist_calibration
        --target loihi1,loihi2 --weight-bits 8,6,4 --map fewest-cores,balanced --samples 100 -o sweep
    """
    from snnhw import api
    from snnhw.machine import load_target
    from snnhw.pipeline import Options, Pipeline
    from snnhw.report import tradeoff
    from snnhw.sweep import Stages, grid, run
    from snnhw.sweep import shard as part

    require("report", "sweep")
    made = tradeoff.NAMES if shard is None else ()
    files.make_folder(output)
    read = inputs_of(source, options)
    require_outputs([output / name for name in made], (*read.values(), data, calibrate, *map(Path, targets)))
    chips = {name: load_target(name).changed(settings) for name in targets}
    given = samples_of(data, preprocess, memory).first(samples)
    training = None if calibrate is None else samples_of(calibrate)
    held: Any = {} if training is None else {"calibrate": training.held, "labels": training.y}

    def begin(target: str, t: int | None) -> Pipeline:
        said = Options(source=replace(options, steps=t), settings=settings, **held)
        return Pipeline(source, target, said, stage)

    def measure(pipeline: Pipeline, artifact: Artifact, path: Path) -> Comparison:
        size = api.batch_of(artifact, memory)
        if cluster is None:
            how: Any = {"engine": engine, "memory": memory, "batch": size, "timing": timing, "force": force}
            found = api.count(pipeline.imported, artifact, given.x, given.y, **how)
        else:
            from snnhw.commands.cluster import run_on

            said = {"engine": engine, "asked": (None, None, None), "judge": None, "timing": timing, "force": force}
            asked = {**said, "options": replace(options, steps=artifact.steps)}
            paths = {"source": source, "artifact": path}
            found = run_on(cluster, tls, part_of, paths, (data, preprocess, memory), given, asked, size)
        return api.merge(artifact, [found])

    points = grid(targets, weight_bits or (None,), steps or (None,), maps, scales)
    shared = {
        "files": {name: samples_of(path).digest if path.is_dir() else file_hash(path) for name, path in read.items()},
        "data": given.digest,
        "calibrate": None if training is None else training.digest,
        "options": asdict(replace(options, samples=None)),
        "engine": engine,
        "timing": timing,
    }

    def of(point: Point) -> Mapping[str, Any]:
        return {**shared, "target": hashlib.sha256(chips[point.target].text.encode()).hexdigest()}

    with stages() as stage, kernels_told(), bar("sweep") as progress:
        chosen = points if shard is None else part(points, *shard)
        rows = list(run(chosen, Stages(begin), measure, output, of, progress))
    if rows and all(row.refused for row in rows):
        where, why = str(rows[0].point), str(rows[0].refused)
        raise SnnhwError("no-point", "no point of the sweep can be compiled", where=where, needed=why)
    if shard is not None:
        emit([row.to_dict() for row in rows]) if machine else click.echo(f"{len(rows)} of {len(points)} points")
        return
    files.write({output / name: content for name, content in tradeoff.pages(rows).items()})
    if machine:
        emit([row.to_dict() for row in rows])
        return
    tradeoff.show(rows)
    click.echo(f"pictures and tables: {output}")
