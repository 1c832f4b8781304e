"""`snnhw check`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from snnhw.commands.common import emit, integer_options, json_option, stages
from snnhw.commands.source_options import refuse_for_artifact, source_options

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions
    from snnhw.network import IntNeuron, Network
    from snnhw.target import Target


@click.command("check")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--target", default=None, help="Name of a shipped target or a .toml file (an artifact knows its own).")
@click.option(
    "--calibrate", type=click.Path(path_type=Path), default=None, help="Training samples (.npz) for the scale search."
)
@click.option("--weight-bits", type=int, default=None, help="Bits of a weight, sign included.")
@integer_options
@source_options()
@json_option
def command(
    source: Path,
    target: str | None,
    calibrate: Path | None,
    weight_bits: int | None,
    sums: str,
    hard_reset: bool,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Does SOURCE (.pt, .nir, or a compiled .snnhw) fit? Each resource of each population: needed, limit, slices.

    Exits 1 when it does not fit.

    \b
    Example:
      snnhw check examples/sew_resnet.pt --target loihi1
    """
    from snnhw.artifact import load
    from snnhw.mapping.place import check_fit
    from snnhw.target import load_target

    with stages() as stage:
        if source.suffix == ".snnhw":
            if calibrate is not None or weight_bits is not None or hard_reset or sums != "cheapest":
                raise click.UsageError("--calibrate, --weight-bits, --sums and --hard-reset are for a source")
            refuse_for_artifact(options)
            artifact = load(source)
            chip = artifact.target if target is None else load_target(target)
            network = artifact.network
        else:
            if target is None:
                raise click.UsageError("--target is needed for a source")
            chip = load_target(target)
            made = {"weight_bits": weight_bits, "hard_reset": hard_reset}
            network = _quantized(source, options, chip, calibrate, sums, made, stage)
        rows = check_fit(network, chip)
    fits = all(row["fits"] for row in rows)
    if machine:
        emit({"target": chip.name, "fits": fits, "rows": rows})
    else:
        _show(rows, fits, chip.name)
    sys.exit(0 if fits else 1)


def _quantized(
    source: Path,
    options: SourceOptions,
    chip: Target,
    calibrate: Path | None,
    sums: str,
    made: dict[str, Any],
    stage: Callable[[str], None],
) -> Network[IntNeuron]:
    """The integers that `snnhw compile` makes with the same options."""
    from snnhw import api
    from snnhw.data import load_samples
    from snnhw.frontends import load_model
    from snnhw.frontends.source import IntegerSource
    from snnhw.lowering.lower import lower_for
    from snnhw.quantize.quantize import quantize
    from snnhw.quantize.verbatim import lowered as lowered_integers
    from snnhw.quantize.verbatim import verbatim

    stage("read")
    given = None if calibrate is None else load_samples(calibrate).x
    imported = load_model(source, options, given)
    if isinstance(imported, IntegerSource):
        return verbatim(imported, lowered_integers(imported, chip), chip).network
    samples = imported.calibration if given is None else given
    stage("lower")
    lowered = lower_for(imported, chip, sums)
    real = None if samples is None else api.real_input(samples, imported.deployment)
    stage("quantise")
    return quantize(lowered, chip, imported.deployment, real, **made).network


def _show(rows: list[dict[str, object]], fits: bool, target: str) -> None:
    table = Table("population", "resource", "needed", "limit", "slices", "fits")
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("population", "resource", "needed", "limit", "slices")),
            "yes" if row["fits"] else "NO",
        )
    Console().print(table)
    click.echo(f"{'fits' if fits else 'does not fit'} {target}")
