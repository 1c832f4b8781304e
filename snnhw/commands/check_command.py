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
    """Does SOURCE (.pt, .nir, or a compiled .snnhw) fit? Each resource of each population: needed, limit, slices.

    Runs every stage of compile up to the placement and refuses what compile refuses. Exits 1 when it does not fit.

    \b
    Example:
      snnhw check example:sew_resnet --target loihi1
    """
    from snnhw.artifact import load
    from snnhw.machine import load_target
    from snnhw.mapping.place import check_fit, place

    with stages() as stage:
        if source.suffix == ".snnhw":
            refuse_making(making)
            refuse_for_artifact(options)
            artifact = load(source)
            chip = (artifact.target if target is None else load_target(target)).changed(making["settings"])
            network, cautions = artifact.network, artifact.warnings
        else:
            if target is None:
                raise click.UsageError("--target is needed for a source")
            pipeline = pipeline_of(source, target, making, options, stage)
            chip, network = pipeline.chip, pipeline.quantised.network
            cautions = (*pipeline.imported.warnings, *pipeline.warnings)
        rows = check_fit(network, chip)
    fits = all(row["fits"] for row in rows)
    refusal = None
    if not fits:
        try:
            place(network, chip)
        except MappingError as error:
            refusal = error
    if machine:
        said = [asdict(caution) for caution in cautions]
        emit(
            {
                "target": chip.name,
                "fits": fits,
                "rows": rows,
                "refusal": refusal and refusal.to_dict(),
                "warnings": said,
            }
        )
    else:
        warn(cautions)
        _show(rows, fits, chip.name)
        if refusal is not None:
            click.echo(f"compile says: {refusal}", err=True)
    sys.exit(0 if fits else 1)


def _show(rows: list[dict[str, object]], fits: bool, target: str) -> None:
    table = Table("population", "resource", "needed", "limit", "slices", "fits")
    for row in rows:
        table.add_row(
            *(Text(str(row[key])) for key in ("population", "resource", "needed", "limit", "slices")),
            "yes" if row["fits"] else "NO",
        )
    Console().print(table)
    click.echo(f"{'fits' if fits else 'does not fit'} {target}")
