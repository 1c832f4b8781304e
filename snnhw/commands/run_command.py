"""`snnhw run`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw.cautions import Caution
from snnhw.commands.common import (
    GIVEN,
    Choice,
    Sections,
    bar,
    cluster_options,
    data_options,
    emit,
    file_hash,
    input_options,
    inputs_of,
    json_option,
    kernels_told,
    require_outputs,
    samples_of,
    save_part,
    shard_option,
    warn,
)
from snnhw.commands.source_options import refuse_for_artifact, source_options
from snnhw.engines.choose import ENGINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnhw.comparison.partial import Part
    from snnhw.data import Samples
    from snnhw.frontends.options import SourceOptions
    from snnhw.network import Array
    from snnhw.rows import Rows


@click.command("run", cls=Sections)
@click.argument("model", type=GIVEN)
@data_options("--input", "--data")
@shard_option()
@cluster_options
@click.option("--engine", type=Choice([*ENGINES, "float"]), default="fast", show_default=True)
@click.option("--record", type=Choice(["spikes", "state"]), default=None, help="state: spikes, u and v.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Write the arrays to this .npz.")
@click.option("--engine-info", "info", is_flag=True, help="Which kernel `fast` ran per layer, and why no faster one.")
@input_options
@source_options(with_input=True)
@json_option
def command(
    model: Path,
    data: Path,
    engine: str,
    samples: int | None,
    shard: tuple[int, int] | None,
    cluster: str | None,
    tls: tuple[Path, Path, Path] | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
    record: str | None,
    output: Path | None,
    info: bool,
    encode: str | None,
    steps: int | None,
    seed: int | None,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Run MODEL on samples: an artifact (.snnhw) in an integer engine, or a source (.pt, .nir) with --engine float.

    \b
    Example:
      snnhw run sew.snnhw --input example:fashion_mnist_500 --engine lava --samples 10 --record state -o out.npz
    """
    from snnhw import api
    from snnhw.artifact import load
    from snnhw.data import save_arrays

    compiled = model.suffix == ".snnhw"
    if compiled == (engine == "float"):
        raise click.UsageError("artifacts run in integer engines, sources with --engine float")
    if engine == "float" and (record == "state" or (shard, cluster) != (None, None)):
        raise click.UsageError("--record state, --shard and --cluster are for integer engines")
    if shard is not None and (output is None or cluster is not None):
        raise click.UsageError("--shard I/N needs -o FILE for its part, and no --cluster")
    if info and engine != "fast":
        raise click.UsageError("--engine-info is for --engine fast: the other engines have one kernel for all layers")
    require_outputs((output,), (*inputs_of(model, options).values(), data))
    given = samples_of(data, preprocess, memory).first(samples)
    if not compiled:
        said = replace(options, encoding=encode, steps=steps)
        arrays = _floats(model, given.x, record, said, seed, force)
    else:
        refuse_for_artifact(options)
        asked = encode, steps, seed
        fixed: dict[str, Any] = {"engine": engine, "record": record, "asked": asked, "force": force}
        if shard is not None and output is not None:
            fixed["batch"] = api.batch_of(load(model), memory)
            save_part(part_of({"artifact": model}, given, shard, given.digest, **fixed), output, machine)
            return
        if cluster is not None:
            from snnhw.commands.cluster import run_on

            place, batch = (data, preprocess, memory), api.batch_of(load(model), memory)
            arrays = arrays_of(run_on(cluster, tls, part_of, {"artifact": model}, place, given, fixed, batch))
        else:
            arrays = _integers(model, given.x, engine, record, asked, memory, force)
    summary = summary_of(arrays, given.y, engine, output) | ({"engine_info": _info(model)} if info else {})
    if output is not None:
        save_arrays(output, arrays)
    show_summary(summary, machine)


def summary_of(arrays: dict[str, Any], y: Array | None, engine: str, output: Path | None) -> dict[str, Any]:
    """What a run says of its arrays."""
    from snnhw.judge import VALUES, judge, output_errors, rmse

    judged = judge(y, len(arrays["values"]), arrays["values"].shape[1])
    summary: dict[str, Any] = {"engine": engine, "samples": len(arrays["values"])}
    if judged.kind == VALUES:
        errors = () if judged.labels is None else output_errors(arrays["values"], judged.labels)
        summary |= {"rmse": rmse(errors), "outputs": [asdict(row) for row in errors]} if errors else {}
    elif judged.labels is not None:
        summary["accuracy"] = float((arrays["predictions"] == judged.labels).mean())
    if "saturations" in arrays:
        summary["saturations"] = int(arrays["saturations"])
    summary["output"] = None if output is None else str(output)
    summary["scale"] = float(arrays["scale"])
    summary["warnings"] = [asdict(caution) for caution in judged.warnings]
    summary["predictions"] = arrays["predictions"].tolist()
    return summary | ({"values": arrays["values"].tolist()} if judged.kind == VALUES else {})


def show_summary(summary: dict[str, Any], machine: bool) -> None:
    """As JSON, or a line each."""
    if machine:
        emit(summary)
        return
    warn([Caution(**caution) for caution in summary["warnings"]])
    values = [f"{value:.5g}" for row in summary.get("values", ()) for value in row]
    shown = values or list(map(str, summary["predictions"]))
    summary["values" if values else "predictions"] = " ".join(shown[:20]) + (" …" if len(shown) > 20 else "")
    for key, value in summary.items():
        if key not in ("warnings", "outputs", "engine_info", *(("predictions",) if values else ())):
            click.echo(f"{key:<12} {value}")
    for row in summary.get("engine_info", ()):
        what = f"synapses from {row['from']}: {row['synapses']}" if "from" in row else f"neurons: {row['neurons']}"
        why = f" ({row['why']})" if row["why"] else ""
        click.echo(f"{row['population']:<28} {what}{why}")


TOTALS = {"scale": "once:scale", "saturations": "sum:saturations"}
"""Arrays of a run that are not by sample, and their names in a part."""


def arrays_of(part: Part) -> dict[str, Any]:
    """The arrays of a whole run; raises DataError 'bad-part' where one is missing."""
    from snnhw.comparison.partial import require_arrays

    samples = part.of["last"] - part.of["first"]
    shapes = {"output": 3, "counts": 2, "scores": 2, "values": 2, "predictions": 1}
    by_sample = {name: (samples, *[None] * (axes - 1)) for name, axes in shapes.items()}
    require_arrays(part, by_sample | dict.fromkeys(TOTALS.values(), ()))
    arrays = {name: array for name, array in part.arrays.items() if name != "y" and name not in TOTALS.values()}
    return arrays | {name: part.arrays[key] for name, key in TOTALS.items()}


def part_of(
    files: Mapping[str, Path],
    given: Samples,
    shard: tuple[int, int],
    digest: str,
    *,
    engine: str,
    record: str | None,
    asked: tuple[str | None, int | None, int | None],
    batch: int,
    force: bool,
) -> Part:
    """What an artifact gives on a shard; here, or on a worker."""
    from snnhw.comparison.partial import Part, of_run, shard_of

    first, last = shard_of(len(given.x), batch, shard)
    arrays = _integers(files["artifact"], given.part(first, last).x, engine, record, asked, None, force, batch)
    named = {TOTALS.get(name, name): array for name, array in arrays.items()}
    named |= {} if given.y is None else {"y": given.y[first:last]}
    more = {"artifact": file_hash(files["artifact"]), "data": digest, "input": list(asked)}
    return Part(named, of_run("run", engine, first, last, len(given.x), batch, shard[1], **more))


def _integers(
    model: Path,
    x: Array | Rows,
    engine: str,
    record: str | None,
    asked: tuple[str | None, int | None, int | None],
    memory: int | None,
    force: bool,
    batch: int | None = None,
) -> dict[str, Any]:
    from snnhw import api
    from snnhw.artifact import load

    artifact = api.with_input(load(model), *asked)
    with kernels_told() if engine == "fast" else nullcontext(), bar(f"run ({engine})") as progress:
        return api.run(artifact, x, engine, record=record, memory=memory, batch=batch, progress=progress, force=force)


def _info(model: Path) -> list[dict[str, str]]:
    from snnhw.artifact import load
    from snnhw.engines.base import Needs
    from snnhw.engines.fast import FastEngine

    artifact = load(model)
    return FastEngine().open(artifact.network, artifact.target, Needs()).info


def _floats(
    model: Path, x: Array | Rows, record: str | None, options: SourceOptions, seed: int | None, force: bool
) -> dict[str, Any]:
    from snnhw import api
    from snnhw.pipeline import Options, Pipeline

    source = Pipeline(model, options=Options(source=replace(options, data=x.shape))).imported
    if seed is not None:
        source = replace(source, deployment=replace(source.deployment, seed=seed))
    return api.run_float(source, x, record=record is not None, force=force)
