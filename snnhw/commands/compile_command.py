"""`snnhw compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw import files, summary
from snnhw.commands.common import (
    GIVEN,
    Choice,
    Sections,
    TargetName,
    emit,
    inputs_of,
    json_option,
    making_options,
    pipeline_of,
    require_outputs,
    stages,
    warn,
)
from snnhw.commands.source_options import source_options
from snnhw.stages import STAGES

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


def _list_stages(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        for name, what in STAGES.items():
            click.echo(f"{name:<10} {what}")
        ctx.exit()


@click.command("compile", cls=Sections)
@click.argument("source", type=GIVEN)
@click.option(
    "--target", type=TargetName(), default=None, help="Name of a shipped target (see snnhw targets) or a .toml file."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, help="Artifact to write [SOURCE's name].snnhw."
)
@making_options
@click.option("--emit-nir", type=click.Path(path_type=Path), default=None, help="Also save the NIR graph.")
@click.option("--with-own-nodes", is_flag=True, help="In it nodes that NIR lacks; other readers reject them.")
@click.option("--stages", is_flag=True, is_eager=True, expose_value=False, callback=_list_stages, help="List stages.")
@click.option("--stop-after", type=Choice(list(STAGES)), default="mapped", help="Go so far only, without an artifact.")
@click.option("--dump", type=click.Path(path_type=Path), default=None, help="Folder: each stage as text and arrays.")
@source_options()
@json_option
def command(
    source: Path,
    target: str | None,
    output: Path | None,
    making: dict[str, Any],
    emit_nir: Path | None,
    with_own_nodes: bool,
    stop_after: str,
    dump: Path | None,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Compile SOURCE for a chip: a .pt of snnhw train, a .nir (other frameworks': --dialect), a published .pth or .t7,
    an .onnx, or a module FILE.py:NAME (this runs the file: --trust-code).

    \b
    Example:
      snnhw compile example:sew_resnet --target loihi2 -o sew.snnhw --emit-nir sew.nir
      snnhw compile net.nir --dialect snntorch --target loihi2 --calibrate spikes.npz
      snnhw compile ann.onnx --target loihi2 --calibrate images.npz --steps 32 --emit-nir converted.nir
      snnhw compile sew18_checkpoint_319.pth --target loihi2 --calibrate images.npz --connect ADD
      snnhw compile example:stbp_scnn --target loihi2 --weight-bits "*conv*=6,*=4"
      snnhw compile net.nir --target loihi2 --stop-after lowered --dump stages
      snnhw compile net.py:Net --weights net.pt --example x.npz --trust-code --target loihi2
    """
    from snnhw.artifact import write_zip
    from snnhw.frontends.nir.file import nir_bytes

    if target is None and stop_after != "imported":
        raise click.UsageError("--target is needed for all stages but the first, imported")
    if target is None and making["settings"]:
        raise click.UsageError("--set is for a target: name it with --target")
    if output is not None and stop_after != "mapped":
        raise click.UsageError(f"--output is for the artifact, which is not made with --stop-after {stop_after}")
    path = output if output is not None else Path(f"{source.stem}.snnhw")
    written = (path if stop_after == "mapped" else None, emit_nir)
    given = (*inputs_of(source, options).values(), making["calibrate"], Path(target) if target else None)
    require_outputs(written, given)
    dumped: list[str] = []
    with stages() as stage:
        pipeline = pipeline_of(source, target, making, options, stage)
        for name in STAGES:
            made = pipeline.at(name)
            if dump is not None:
                dumped += map(str, pipeline.dump(name, dump))
            if name == stop_after:
                break
        contents: dict[Path, files.Content] = {}
        if emit_nir is not None:
            contents[emit_nir] = nir_bytes(pipeline.imported.nir_graph(), with_own_nodes)
        if stop_after == "mapped":
            contents[path] = lambda out: write_zip(made, out)
        files.write(contents)
    said = summary.summary(made, str(path)) if stop_after == "mapped" else {"stage": stop_after}
    said |= {"dump": dumped} if dump is not None else {}
    if machine:
        emit(said)
        return
    click.echo(summary.text(said))
    if stop_after == "mapped":
        warn(made.warnings)
