"""`snnhw why`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnhw import files
from snnhw.commands.common import (
    GIVEN,
    Sections,
    bar,
    data_options,
    emit,
    inputs_of,
    json_option,
    require_outputs,
    samples_of,
)
from snnhw.commands.source_options import source_options
from snnhw.errors import DataError

if TYPE_CHECKING:
    from snnhw.frontends.options import SourceOptions


@click.command("why", cls=Sections)
@click.argument("source", type=GIVEN)
@click.argument("artifact", type=GIVEN)
@data_options("--data")
@click.option("--calibrate", type=GIVEN, default=None, help="What the artifact was calibrated on, to compile it anew.")
@click.option("--fixed", type=click.Path(path_type=Path), default=None, help="Write the changed source, as .nir.")
@click.option("--html", type=click.Path(path_type=Path), default=None, help="Write the answer as one page.")
@click.option("--markdown", type=click.Path(path_type=Path), default=None, help="Write the answer as Markdown.")
@source_options()
@json_option
def command(
    source: Path,
    artifact: Path,
    data: Path,
    samples: int | None,
    preprocess: str | None,
    memory: int | None,
    force: bool,
    calibrate: Path | None,
    fixed: Path | None,
    html: Path | None,
    markdown: Path | None,
    options: SourceOptions,
    machine: bool,
) -> None:
    """Which rounding makes ARTIFACT do other things than SOURCE, the most harmful first, and what would help.

    Each kind of parameter of each layer is made real again alone; fixes are compiled and tried on samples kept apart.

    \b
    Example:
      snnhw why net.nir net.snnhw --data test.npz --calibrate train.npz --html why.html
    """
    from snnhw import api
    from snnhw.artifact import load
    from snnhw.frontends.nir.file import nir_bytes
    from snnhw.report import attribution as report

    require_outputs((fixed, html, markdown), (*inputs_of(source, options).values(), artifact, data, calibrate))
    given = samples_of(data, preprocess, memory).first(samples)
    training = None if calibrate is None else samples_of(calibrate)
    with bar("why") as progress:
        found = api.why(
            source,
            load(artifact),
            given.held,
            given.y,
            calibrate=None if training is None else training.held,
            labels=None if training is None else training.y,
            options=options,
            data=data.name,
            progress=progress,
        )
    made: dict[Path, files.Content] = {} if html is None else {html: report.html(found)}
    made |= {} if markdown is None else {markdown: report.markdown(found)}
    none = None
    if fixed is not None:
        try:
            made[fixed] = nir_bytes(found.fixed_source.nir_graph(), own=True)
        except DataError as error:  # the answer stands all the same
            none = error
    files.write(made)
    if machine and none is None:
        emit(found.to_dict())
        return
    if not machine:
        for line in found.lines:
            click.echo(line)
        for path in made:
            click.echo(f"written: {path}")
    if none is not None:
        raise none
