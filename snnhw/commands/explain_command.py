"""`snnhw explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw.commands.common import (
    GIVEN,
    Sections,
    TargetName,
    emit,
    json_option,
    making_options,
    pipeline_of,
    refuse_making,
    stages,
)
from snnhw.commands.source_options import refuse_for_artifact, source_options

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions
    from snnhw.network import IntNeuron, Network


@click.command("explain", cls=Sections)
@click.argument("source", type=GIVEN)
@click.option("--population", default=None, help="Only this population.")
@click.option(
    "--target",
    type=TargetName(),
    default=None,
    help="Name of a shipped target or a .toml file (an artifact knows its own).",
)
@making_options
@source_options(without=("population",))
@json_option
def command(
    source: Path,
    population: str | None,
    target: str | None,
    making: dict[str, Any],
    options: SourceOptions,
    machine: bool,
) -> None:
    """Where each integer of SOURCE (a compiled .snnhw, or what compile takes) comes from: its real value, the rule, the
    reason.

    \b
    Example:
      snnhw explain sew.snnhw --population stem_if
    """
    from snnhw.artifact import load
    from snnhw.errors import ArtifactError

    if source.suffix == ".snnhw":
        refuse_making(making)
        if target is not None or making["settings"]:
            raise click.UsageError("--target, --set: for a source, not for an artifact")
        refuse_for_artifact(options)
        compiled = load(source)
    else:
        if target is None:
            raise click.UsageError("--target is needed for a source")
        with stages() as stage:
            compiled = pipeline_of(source, target, making, options, stage).mapped
    names = [p.name for p in compiled.network.computed]
    if population is not None and population not in names:
        raise ArtifactError("unknown-population", f"no population named {population!r}", limit=", ".join(names))
    rows = [row for row in compiled.rationale if population in (None, row.population)]
    bounds = [row for row in compiled.bounds if population in (None, row["population"])]
    arrays = [row for row in weight_arrays(compiled.network) if population is None or population in row["into"]]
    if machine:
        emit(
            {
                "rationale": [row.to_dict() for row in rows],
                "arrays": arrays,
                "bounds": bounds,
                "checks": compiled.checks,
            }
        )
        return
    for name in names if population is None else [population]:
        click.echo(name)
        for reason in (row for row in rows if row.population == name):
            real = "" if reason.real is None else f" (real {reason.real})"
            click.echo(f"  {reason.parameter} = {reason.integer}{real}: {reason.text}")
        for array in (array for array in arrays if name in array["into"]):
            layers = ", ".join(array["layers"])
            click.echo(f"  weights {array['name']}: {array['bits']} bit, {array['shape']}; layers {layers}")
        for row in (row for row in bounds if row["population"] == name):
            click.echo(
                f"  range: u {row['u']}, v {row['v']} within {row['steps']} steps, "
                f"limit {row['limit']}: {row['status']}"
                + ("; no input can make it fire within these steps" if row.get("silent") else "")
            )


def weight_arrays(network: Network[IntNeuron]) -> list[dict[str, Any]]:
    """One row a weight array: name, layers of the source, bits of a weight, shape, populations it leads into."""
    found = {
        name: [q.post for q in network.projections if not q.op.injects and q.op.weight == name]
        for name in network.stored
    }
    return [
        {
            "name": name,
            "layers": list(network.names(name)),
            "bits": network.bits[name],
            "shape": "x".join(map(str, network.weights[name].shape)) or "1",
            "into": list(dict.fromkeys(posts)),
        }
        for name, posts in found.items()
    ]
