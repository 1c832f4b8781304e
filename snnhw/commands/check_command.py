"""`snnhw check`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
    warn,
)
from snnhw.commands.source_options import refuse_for_artifact, source_options
from snnhw.errors import MappingError

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


@click.command("check", cls=Sections)
@click.argument("source", type=GIVEN)
@click.option(
    "--target",
    type=TargetName(),
    default=None,
    help="Name of a shipped target or a .toml file (an artifact knows its own).",
)
@making_options
@source_options()
@json_option
def command(source: Path, target: str | None, making: dict[str, Any], options: SourceOptions, machine: bool) -> None:
    """Does SOURCE (.pt, .nir, or a compiled .snnhw) fit? Each resource of each population: needed, limit, margin.

    Runs every stage of compile up to the placement and refuses what compile refuses. Says what a sample takes at the
    load that was placed for, and, with --json, what each core holds. Exits 1 when it does not fit.

    \b
    Example:
      snnhw check example:sew_resnet --target loihi1
    """
    from snnhw.artifact import load
    from snnhw.chip.expected import expected
    from snnhw.machine import load_target
    from snnhw.mapping.fit import check_fit, guessed_limits, needed
    from snnhw.mapping.load import stated
    from snnhw.mapping.place import place, utilization

    with stages() as stage:
        if source.suffix == ".snnhw":
            refuse_making(making)
            refuse_for_artifact(options)
            artifact = load(source)
            chip = (artifact.target if target is None else load_target(target)).changed(making["settings"])
            network, cautions = artifact.network, artifact.warnings
            rates = artifact.mapping.choice and artifact.mapping.choice["rates"]
            busy = stated(network, rates if making["rates"] is None else making["rates"])
        else:
            if target is None:
                raise click.UsageError("--target is needed for a source")
            pipeline = pipeline_of(source, target, making, options, stage)
            chip, network, busy = pipeline.chip, pipeline.quantised.network, pipeline.load
            cautions = (*pipeline.imported.warnings, *pipeline.warnings)
        refusal = None
        found: dict[str, Any] = {"target": chip.name, "fits": True, "map": making["aim"], "load": busy.origin}
        try:
            mapping = place(network, chip, busy, making["aim"])
        except MappingError as error:
            refusal = error
            found |= {"fits": False, "rows": check_fit(network, chip), "refusal": error.to_dict()}
        else:
            takes = expected(mapping, busy, network, chip)
            found |= {"rows": needed(mapping.slices, network, chip), "refusal": None}
            found |= {
                "cores": utilization(mapping, chip),
                "expected": {name: band.likely for name, band in takes.items()}
                | {"band": {name: asdict(band) for name, band in takes.items()}},
            }
        found["guessed_limits"] = guessed_limits(network, chip)
    if machine:
        emit(found | {"warnings": [asdict(caution) for caution in cautions]})
    else:
        warn(cautions)
        _show(found)
        if refusal is not None:
            click.echo(f"compile says: {refusal}", err=True)
    sys.exit(0 if found["fits"] else 1)


def _show(found: dict[str, Any]) -> None:
    columns = ("population", "resource", "needed", "limit", "margin", "grade", "slices")
    table = Table(*columns, "fits")
    for row in found["rows"]:
        table.add_row(*(Text(str(row[key])) for key in columns), "yes" if row["fits"] else "NO")
    Console().print(table)
    for row in found["guessed_limits"]:
        half, twice = (_cores(row[end]) for end in ("half", "twice"))
        click.echo(
            f"{' and '.join(row['keys'])} assumed: at half {half}, at twice {twice}, of the fewest {row['cores']}"
        )
    if found["fits"]:
        from snnhw.chip.band import Band
        from snnhw.report.numbers import band

        period, joules, leaks = (
            Band(**found["expected"]["band"][name]) for name in ("period_s", "energy_j", "static_j")
        )
        said = f"{band(period, 's')} and {band(joules, 'J')}, and leaks {band(leaks, 'J')}"
        click.echo(f"map {found['map']}, load {found['load']}: a sample takes {said}")
    click.echo(f"{'fits' if found['fits'] else 'does not fit'} {found['target']}")


def _cores(found: int | str | None) -> str:
    """A count of cores as a row of `guessed_limits` has it."""
    return "does not fit" if found is None else found if isinstance(found, str) else f"{found} cores"
