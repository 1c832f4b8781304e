"""`snnhw diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from snnhw.commands.common import GIVEN, emit, json_option


@click.command("diff")
@click.argument("first", type=GIVEN)
@click.argument("second", type=GIVEN)
@json_option
def command(first: Path, second: Path, machine: bool) -> None:
    """Where two recorded runs (.npz of snnhw run --record) differ first. Exits 1 when they differ.

    \b
    Example:
      snnhw run sew.snnhw --input d.npz --engine fast --record state -o a.npz
      snnhw run sew.snnhw --input d.npz --engine lava --record state -o b.npz
      snnhw diff a.npz b.npz
    """
    from snnhw.comparison.diff import diff
    from snnhw.data import load_recording

    found = diff(load_recording(first), load_recording(second))
    if machine:
        emit({"identical": found is None, "difference": None if found is None else found.to_dict()})
    else:
        click.echo("identical" if found is None else str(found))
    sys.exit(0 if found is None else 1)
