"""`snnhw inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from snnhw.commands.common import GIVEN, emit, json_option, warn


@click.command("inspect")
@click.argument("artifact", type=GIVEN)
@click.option("--cores", is_flag=True, help="Also what each core holds.")
@json_option
def command(artifact: Path, cores: bool, machine: bool) -> None:
    """What is in ARTIFACT: source, populations, projections, cores, checks.

    \b
    Example:
      snnhw inspect sew.snnhw --cores
    """
    from snnhw import summary
    from snnhw.artifact import load
    from snnhw.mapping.place import utilization
    from snnhw.network_text import format_network

    compiled = load(artifact)
    text = format_network(compiled.network)
    held = utilization(compiled.mapping, compiled.target)
    content = {
        **summary.summary(compiled, str(artifact)),
        "source": dict(compiled.source),
        "inputs": [
            {
                "population": s.population,
                "encoding": s.encoding,
                "shape": s.shape,
                "scale": s.scale,
                "range": [s.low, s.high],
                "seed": s.seed,
                "host": s.host is not None,
            }
            for s in compiled.inputs
        ],
        "readout": compiled.network.readout.kind,
        "calibration": compiled.calibration,
        "checks": list(compiled.checks),
        "semantics": dict(compiled.semantics),
    }
    if machine:
        emit({**content, "network": text.splitlines(), "cores": held})
        return
    warn(compiled.warnings)
    click.echo(summary.text(content))
    click.echo(text, nl=False)
    if cores:
        for row in held:
            use = ", ".join(f"{name} {r['used']}/{r['limit']}" for name, r in row["resources"].items())
            click.echo(f"  core {row['core']} (chip {row['chip']}): {', '.join(row['populations'])}: {use}")
