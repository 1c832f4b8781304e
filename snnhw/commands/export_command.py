"""`snnhw export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw.commands.common import GIVEN, Choice, Sections, emit, inputs_of, json_option, require_outputs
from snnhw.commands.source_options import refuse_for_artifact, source_options
from snnhw.extras import require

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions

FRAMEWORKS = ("snntorch", "spikingjelly", "sinabs", "norse", "rockpool")


@click.command("export", cls=Sections)
@click.argument("model", type=GIVEN)
@click.option("--to", "form", type=Choice(["nir", "netx", "onnx", "sanafe"]), required=True, help="Format of the file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write (sanafe: folder).")
@click.option(
    "--for",
    "framework",
    type=Choice(FRAMEWORKS, case_sensitive=False),
    default=None,
    help="NIR: write it so that this framework's importer gives the same spikes.",
)
@source_options()
@json_option
def command(model: Path, form: str, output: Path, framework: str | None, options: SourceOptions, machine: bool) -> None:
    """Hand MODEL on to another tool: a source (float) or an artifact (.snnhw: its integers) as NIR, artifacts also as
    lava-dl's .net for real Loihi 2 tools (netx), as ONNX, or as a chip and a network for SANA-FE.

    \b
    Example:
      snnhw export sew.snnhw --to nir -o sew_quantised.nir
      snnhw export net.nir --dialect snntorch --steps 50 --to nir --for norse -o norse.nir
      snnhw export sew.snnhw --to onnx -o sew.onnx
      snnhw export driven.snnhw --to sanafe -o driven
    """
    require_outputs((output,), tuple(inputs_of(model, options).values()))
    compiled = model.suffix == ".snnhw"
    if form != "nir" and framework is not None:
        raise click.UsageError("--for is for --to nir")
    if form != "nir" and not compiled:
        raise click.UsageError(f"--to {form} takes an artifact (.snnhw): compile the source first")
    if compiled:
        refuse_for_artifact(options)
    summary: dict[str, Any] = {
        "output": str(output),
        "format": form,
        **_written(model, form, output, framework, options),
    }
    if machine:
        emit(summary)
        return
    for key, value in summary.items():
        click.echo(f"{key:<12} {value}")


def _written(model: Path, form: str, output: Path, framework: str | None, options: SourceOptions) -> dict[str, Any]:
    from snnhw.artifact import load

    if form == "nir":
        from snnhw.export.nir import write_graph
        from snnhw.pipeline import Options, Pipeline

        network = load(model) if model.suffix == ".snnhw" else Pipeline(model, options=Options(source=options)).imported
        return write_graph(network, output, framework)
    artifact = load(model)
    if form == "onnx":
        require("onnx", "export --to onnx")
        from snnhw.export.onnx import write_onnx

        write_onnx(artifact, output)
    elif form == "sanafe":
        from snnhw.export.sanafe import write_sanafe

        return {"network": "quantised", "steps": artifact.steps, "groups": write_sanafe(artifact, output)}
    else:
        from snnhw.export.netx import write_net

        write_net(artifact, output)
    return {"network": "quantised", "steps": artifact.steps}
