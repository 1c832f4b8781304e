"""`snnhw compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from snnhw.commands.common import emit, json_option, require_outputs, stages, writing


@click.command("compile")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="Name of a shipped target (see snnhw targets) or a .toml file.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, help="Artifact to write [SOURCE's name].snnhw."
)
@click.option(
    "--calibrate", type=click.Path(path_type=Path), default=None, help="Training samples (.npz) for the scale search."
)
@click.option("--weight-bits", type=int, default=None, help="Bits of a weight, sign included.")
@click.option("--emit-nir", type=click.Path(path_type=Path), default=None, help="Also save the NIR graph.")
@json_option
def command(
    source: Path,
    target: str,
    output: Path | None,
    calibrate: Path | None,
    weight_bits: int | None,
    emit_nir: Path | None,
    machine: bool,
) -> None:
    """Compile SOURCE (.pt of snnhw train, or .nir of ours) for a chip.

    \b
    Example:
      snnhw compile examples/sew_resnet.pt --target loihi2 -o sew.snnhw --emit-nir sew.nir
    """
    from snnhw import api
    from snnhw.artifact import save
    from snnhw.data import load_samples
    from snnhw.frontends import load_source
    from snnhw.frontends.nir_file import write_nir

    path = output if output is not None else Path(source.with_suffix(".snnhw").name)
    require_outputs((path, emit_nir), (source, calibrate, Path(target)))
    samples = None if calibrate is None else load_samples(calibrate).x
    with stages() as stage:
        stage("read")
        imported = load_source(source)
        artifact = api.compile(imported, target=target, calibrate=samples, weight_bits=weight_bits, stage=stage)
        if emit_nir is not None:
            write_nir(imported.graph, emit_nir)
        with writing(path):
            save(artifact, path)
    summary = summarize(artifact, str(path))
    if machine:
        emit(summary)
        return
    for key, value in summary.items():
        click.echo(f"{key.replace('_', ' '):<12} {value}")


def summarize(artifact: Any, path: str) -> dict[str, Any]:
    """What a user wants to know after a compilation."""
    network = artifact.network
    unproven = [str(b["population"]) for b in artifact.bounds if b["status"] != "proven"]
    return {
        "artifact": path,
        "target": artifact.target.name,
        "populations": len(network.computed),
        "neurons": sum(p.size for p in network.computed),
        "projections": len(network.projections),
        "steps": network.steps,
        "pipeline_fill": network.depth,
        "cores_used": artifact.mapping.cores_used,
        "chips_used": artifact.mapping.chips,
        "range_proof": "24 bit proven for every input" if not unproven else "unproven for " + ", ".join(unproven),
        "approximate": approximations(artifact),
        "checks": [
            f"{c['stage']}: {c['detail'] if c['stage'].startswith('float') else c['status']}" for c in artifact.checks
        ],
        "calibration": None if artifact.calibration is None else f"{artifact.calibration['samples']} samples",
    }


def approximations(artifact: Any) -> str:
    """Populations whose threshold rule the target can only approximate; `explain` says why."""
    rows = [row for row in artifact.rationale if row["parameter"] == "vth" and "approximate" in row["why"]]
    return ", ".join(str(row["population"]) for row in rows) or "no threshold rule"
