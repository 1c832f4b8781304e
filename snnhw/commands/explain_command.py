"""`snnhw explain`."""

from __future__ import annotations

from pathlib import Path

import click

from snnhw.commands.common import emit, json_option


@click.command("explain")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--population", default=None, help="Only this population.")
@json_option
def command(artifact: Path, population: str | None, machine: bool) -> None:
    """Where each integer of ARTIFACT comes from: its real value, the rule, the reason.

    \b
    Example:
      snnhw explain sew.snnhw --population stem_if
    """
    from snnhw.artifact import load
    from snnhw.errors import ArtifactError

    compiled = load(artifact)
    names = [p.name for p in compiled.network.computed]
    if population is not None and population not in names:
        raise ArtifactError("unknown-population", f"no population named {population!r}", limit=", ".join(names))
    rows = [row for row in compiled.rationale if population in (None, row.population)]
    bounds = [row for row in compiled.bounds if population in (None, row["population"])]
    if machine:
        emit({"rationale": [row.to_dict() for row in rows], "bounds": bounds, "checks": compiled.checks})
        return
    for name in names if population is None else [population]:
        click.echo(name)
        for reason in (row for row in rows if row.population == name):
            real = "" if reason.real is None else f" (real {reason.real})"
            click.echo(f"  {reason.parameter} = {reason.integer}{real}: {reason.text}")
        for row in (row for row in bounds if row["population"] == name):
            click.echo(
                f"  range: u {row['u']}, v {row['v']} within {row['steps']} steps, "
                f"limit {row['limit']}: {row['status']}"
                + ("; no input can make it fire within these steps" if row.get("silent") else "")
            )
