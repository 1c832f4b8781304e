"""`snnhw calibrate`."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snnhw.commands.common import GIVEN, TargetName, bar, emit, json_option, kernels_told, require_outputs, samples_of
from snnhw.errors import DataError
from snnhw.limits import bytes_of

if TYPE_CHECKING:
    from snnhw.chip.measured import Fitted, Run
    from snnhw.machine import Machine

COLUMNS = ("artifact", "data", "samples", "seconds", "joules")
MOST = 10_000
"""Rows of a file of measurements."""


@click.command("calibrate")
@click.argument("target", type=TargetName())
@click.option("--measurements", type=GIVEN, required=True, help="CSV: artifact,data,samples,seconds,joules a run.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, help="The target file [TARGET-fitted.toml]."
)
@json_option
def command(target: str, measurements: Path, output: Path | None, machine: bool) -> None:
    """Fit times and energies of TARGET to runs measured on a board, and write a target of your own.

    A row is a run: an artifact, its input, and as measured the seconds from one sample to the next and joules of one.
    Paths are relative to the CSV. What the runs do not tell stays as it was.

    \b
    Example:
      snnhw calibrate loihi2 --measurements board.csv -o my_board.toml
    """
    from snnhw import files
    from snnhw.chip.measured import fit_energy, fit_time, fitted_target
    from snnhw.machine import load_target

    chip = load_target(target)
    path = output if output is not None else Path(f"{chip.name}-fitted.toml")
    rows = read(measurements)
    named = (measurements.parent / row[name] for row in rows for name in ("artifact", "data"))
    require_outputs((path,), (measurements, Path(target), *named))
    with kernels_told(), bar("calibrate") as progress:
        runs = []
        for i, row in enumerate(rows):
            runs.append(_run(row, chip, measurements, i + 1))
            progress(i + 1, len(rows))
    found = [one for one in (fit_time(runs, chip), fit_energy(runs, chip)) if one is not None]
    made = fitted_target(chip, found, measurements.name)
    files.write({path: made.text})
    constants = [row for one in found for row in _constants(one, chip)]
    if machine:
        emit({"target": str(path), "runs": len(runs), "constants": constants})
        return
    for row in constants:
        was = f"{row['was']:.4g}"
        fit = f"{row['value']:.4g} ({row['low']:.4g} to {row['high']:.4g}), was {was}"
        click.echo(f"{row['key']:<20} {fit if row['told'] else f'not told by these runs: stays {was}'} {row['unit']}")
    for one in found:
        click.echo(f"{one.keys[0].partition('.')[0]}: {one.runs} runs, error of runs left out {one.fit.error:.1%}")
    click.echo(f"written {path}")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of measurements.

    Raises:
        SnnhwError: 'bad-measurements' with row and column; there is no such file, or it cannot be read.
    """
    try:
        reader = csv.DictReader(io.StringIO(bytes_of(path).decode("utf-8-sig"), newline=""), strict=True)
        columns = reader.fieldnames or []
        rows = [row for row, _ in zip(reader, range(MOST + 1), strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad(f"not CSV: {error}", str(path)) from None
    if not {"artifact", "data"} <= set(columns) <= set(COLUMNS):
        raise _bad(f"has columns {', '.join(columns) or 'none'}", str(path))
    if not rows or len(rows) > MOST:
        raise _bad(f"has {'no' if not rows else 'too many'} runs, from 1 to {MOST} are read", str(path))
    return [_typed(row, f"{path.name}, row {i}") for i, row in enumerate(rows, 1)]


def _typed(row: dict[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not found["artifact"] or not found["data"] or None in row:
        raise _bad("a run names an artifact and its data, and has no further fields", where)
    if "\0" in found["artifact"] + found["data"]:
        raise _bad("no file has such a name", where)
    for name in ("samples", "seconds", "joules"):
        text = found[name]
        try:
            found[name] = None if not text else int(text) if name == "samples" else float(text)
        except ValueError:
            raise _bad(f"{name} is no number: {text[:40]}", where) from None
        if found[name] is not None and not (0 < found[name] < math.inf):
            raise _bad(f"{name} should be above 0: {text[:40]}", where)
    return found


def _bad(what: str, where: str) -> DataError:
    return DataError(
        "bad-measurements",
        f"the measurements cannot be used: {what}",
        where=where,
        limit=f"columns {','.join(COLUMNS)}; the last three may be empty",
    )


def _run(row: dict[str, Any], chip: Machine, path: Path, number: int) -> Run:
    from snnhw.api import batch_of
    from snnhw.artifact import load
    from snnhw.chip.measured import counted
    from snnhw.encoding import encode
    from snnhw.engines.choose import integer_engine

    artifact = load(path.parent / row["artifact"])
    held = samples_of(path.parent / row["data"])
    if row["samples"] is not None and row["samples"] > len(held.x):
        raise _bad(f"samples is {row['samples']}, and the data hold {len(held.x)}", f"{path.name}, row {number}")
    x = held.first(row["samples"]).held
    size = batch_of(artifact, None)
    chunks = [encode(x[i : i + size], artifact.inputs, artifact.network.steps) for i in range(0, len(x), size)]
    return counted(artifact, chip, chunks, integer_engine("fast"), row["seconds"], row["joules"])


def _constants(one: Fitted, chip: Machine) -> list[dict[str, Any]]:
    return [
        {
            "key": key,
            "told": bool(one.fit.told[i]),
            "value": float(one.fit.price[i]),
            "low": float(one.fit.low[i]),
            "high": float(one.fit.high[i]),
            "was": float(chip.constant(key).si()),
            "unit": chip.constant(key).unit.split()[0][-1],
            "error_left_out": one.fit.error,
            "runs": one.runs,
        }
        for i, key in enumerate(one.keys)
    ]
