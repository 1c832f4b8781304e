"""`snnhw diff`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnhw.commands.common import GIVEN, Choice, Sections, data_options, emit, json_option, samples_of
from snnhw.commands.source_options import source_options
from snnhw.engines.choose import ENGINES

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


@click.command("diff", cls=Sections)
@click.argument("first", type=GIVEN)
@click.argument("second", type=GIVEN)
@data_options("--data", required=False)
@click.option("--engine", type=Choice(list(ENGINES)), multiple=True, help="Of artifacts; twice: of FIRST and SECOND.")
@click.option("--record", type=click.Choice(["spikes", "state"]), default="spikes", show_default=True)
@source_options()
@json_option
def command(
    first: Path,
    second: Path,
    data: Path | None,
    samples: int | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
    engine: tuple[str, ...],
    record: str,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Where two runs differ first: each a source (in floats), an artifact, or what snnhw run --record wrote (.npz).

    Exits 0 where they are equal, 1 where they differ, 2 refused or wrong use, 3 a defect of ours.

    \b
    Example:
      snnhw diff net.nir net.snnhw --data d.npz
      snnhw diff net.snnhw net.snnhw --data d.npz --engine fast --engine lava --record state
      snnhw diff a.npz b.npz
    """
    from snnhw import api

    if len(engine) > 2:
        raise click.UsageError("--engine: once for both artifacts, or once each")
    if data is None and any(path.suffix != ".npz" for path in (first, second)):
        raise click.UsageError("--data is needed to run a source or an artifact")
    given = None if data is None else samples_of(data, preprocess, memory).first(samples)
    engines = (engine[0], engine[-1]) if engine else (None, None)
    x = None if given is None else given.held
    found = api.diff(first, second, x, engines=engines, record=record, options=options, force=force)
    if machine:
        emit({"identical": found is None, "difference": None if found is None else found.to_dict()})
    else:
        click.echo("identical" if found is None else str(found))
    sys.exit(0 if found is None else 1)
