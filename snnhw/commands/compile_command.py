"""`snnhw compile`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw import files
from snnhw.commands.common import emit, json_option, making_options, pipeline_of, require_outputs, stages, warn
from snnhw.commands.source_options import source_options
from snnhw.rationale import Effect
from snnhw.stages import STAGES

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


def _list_stages(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        for name, what in STAGES.items():
            click.echo(f"{name:<10} {what}")
        ctx.exit()


@click.command("compile")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--target", default=None, help="Name of a shipped target (see snnhw targets) or a .toml file.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, help="Artifact to write [SOURCE's name].snnhw."
)
@making_options
@click.option("--emit-nir", type=click.Path(path_type=Path), default=None, help="Also save the NIR graph.")
@click.option("--with-own-nodes", is_flag=True, help="In it nodes that NIR lacks; other readers reject them.")
@click.option("--stages", is_flag=True, is_eager=True, expose_value=False, callback=_list_stages, help="List stages.")
@click.option(
    "--stop-after", type=click.Choice(list(STAGES)), default="mapped", help="Go so far only, without an artifact."
)
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
    an .onnx.

    \b
    Example:
      snnhw compile examples/sew_resnet.pt --target loihi2 -o sew.snnhw --emit-nir sew.nir
      snnhw compile net.nir --dialect snntorch --target loihi2 --calibrate spikes.npz
      snnhw compile ann.onnx --target loihi2 --calibrate images.npz --steps 32 --emit-nir converted.nir
      snnhw compile sew18_checkpoint_319.pth --target loihi2 --calibrate images.npz --connect ADD
      snnhw compile examples/stbp_scnn.pt --target loihi2 --weight-bits "*conv*=6,*=4"
      snnhw compile net.nir --target loihi2 --stop-after lowered --dump stages
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
    require_outputs(written, (source, making["calibrate"], Path(target) if target else None))
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
    summary = summarize(made, str(path)) if stop_after == "mapped" else {"stage": stop_after}
    summary |= {"dump": dumped} if dump is not None else {}
    if machine:
        emit(summary)
        return
    for key, value in summary.items():
        if key != "warnings":
            click.echo(f"{key.replace('_', ' '):<12} {value}")
    if stop_after == "mapped":
        warn(made.warnings)


def summarize(artifact: Any, path: str) -> dict[str, Any]:
    """What a user wants to know after a compilation."""
    network = artifact.network
    unproven = [str(b["population"]) for b in artifact.bounds if b["status"] != "proven"]
    n = artifact.target.numeric
    bits = n.u_bits if n.u_bits == n.v_bits else f"u {n.u_bits}, v {n.v_bits}"
    silent = [str(b["population"]) for b in artifact.bounds if b.get("silent")]
    return {
        "artifact": path,
        "target": artifact.target.name,
        "dialect": artifact.source.get("dialect", "the source says its own semantics"),
        "populations": len(network.computed),
        "neurons": sum(p.size for p in network.computed),
        "projections": len(network.projections),
        "steps": network.steps,
        "pipeline_fill": network.depth,
        "cores_used": artifact.mapping.cores_used,
        "chips_used": artifact.mapping.chips,
        "range_proof": "unproven for " + ", ".join(unproven) if unproven else f"{bits} bit proven for every input",
        "never_fire": ", ".join(silent) or "no population: each can reach its threshold",
        "approximate": approximations(artifact),
        "warnings": [asdict(caution) for caution in artifact.warnings],
        "checks": [
            f"{c['stage']}: {c['detail'] if c['status'] == 'measured' else c['status']}" for c in artifact.checks
        ],
        "assumed": assumptions(artifact),
        "calibration": None if artifact.calibration is None else calibrated(artifact.calibration),
    }


def calibrated(calibration: Mapping[str, Any]) -> str:
    """How many samples there were; of a network too large to hold the activity of all, how many were used."""
    used = f", the first {calibration['used']} used: the network is large" if "used" in calibration else ""
    return f"{calibration['samples']} samples{used}"


def assumptions(artifact: Any) -> str:
    """What neither the checkpoint nor a flag said, so that the published code's constant was taken."""
    flags = artifact.source.get("flags", {})
    found: dict[str, list[str]] = {}
    for name, row in flags.items():
        if row["from"] == "assumed":
            found.setdefault(row["note"], []).append(f"{name} {row['value']}")
    return "; ".join(f"{', '.join(rows)} ({whose})" for whose, rows in found.items()) or "nothing"


def approximations(artifact: Any) -> str:
    """Populations whose threshold rule, reset or number of spikes a step the target can only approximate; `explain`
    says why."""
    found: dict[str, list[str]] = {"vth": [], "reset": [], "max_spikes": []}
    for reason in artifact.rationale:
        if reason.kind is Effect.APPROXIMATE:
            found.setdefault(reason.parameter, []).append(reason.population)
    resets = f"; hard for soft reset in {len(found['reset'])} populations" if found["reset"] else ""
    spikes = "; spikes a step limited in " + ", ".join(found["max_spikes"]) if found["max_spikes"] else ""
    return (", ".join(found["vth"]) or "no threshold rule") + resets + spikes
