"""`snnhw card`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from snnhw.commands.common import GIVEN, emit, file_hash, json_option, require_outputs


@click.command("card")
@click.argument("model", type=GIVEN)
@click.option("--comparison", type=GIVEN, default=None, help="What snnhw compare --json wrote: accuracy, energy, time.")
@click.option("--licence", "--license", default=None, metavar="SPDX", help="Of the weights, as Apache-2.0.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Markdown to write [stdout].")
@json_option
def command(model: Path, comparison: Path | None, licence: str | None, output: Path | None, machine: bool) -> None:
    """A model card of MODEL (a compiled .snnhw, or a checkpoint of snnhw train): what it is, accuracy, energy, licence.

    \b
    Example:
      snnhw compare example:sew_resnet sew.snnhw --data example:fashion_mnist_500 --json > compared.json
      snnhw card sew.snnhw --comparison compared.json --licence Apache-2.0 -o README.md
    """
    from snnhw import files
    from snnhw.report.card import card, measured

    require_outputs([output], [model, comparison])
    artifact = model.suffix == ".snnhw"
    said = _artifact(model) if artifact else _checkpoint(model)
    found = None if comparison is None else measured(comparison, f"{model.name} sha256 {file_hash(model)}")
    run = f"snnhw run {model.name} --input samples.npz" + ("" if artifact else " --engine float")
    text = card(model.stem, said, run, found, licence)
    if output is not None:
        files.write({output: text})
    if machine:
        emit({"card": None if output is None else str(output), "licence": licence, "model": said, "comparison": found})
    elif output is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"card: {output}")


def _artifact(path: Path) -> dict[str, Any]:
    from snnhw.artifact import load
    from snnhw.summary import summary

    compiled = load(path)
    kept = ("target", "populations", "neurons", "steps", "bits_per_weight", "memory", "cores_used", "chips_used")
    said = {key: value for key, value in summary(compiled, path.name).items() if key in (*kept, "inputs", "readout")}
    warned = [str(caution) for caution in compiled.warnings]
    return {"compiled_from": dict(compiled.source), **said, "warnings": warned or None}


def _checkpoint(path: Path) -> dict[str, Any]:
    from snnhw.zoo.checkpoint import read

    content = read(path)
    trained = {key: content.get(key) for key in ("recipe", "seed", "epoch", "metrics", "network", "deploy")}
    return {**trained, "parameters": sum(tensor.numel() for tensor in content["model"].values())}
