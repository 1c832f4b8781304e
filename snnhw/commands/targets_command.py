"""`snnhw targets`."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from snnhw.commands.common import emit, json_option


@click.command("targets")
@click.argument("name", required=False)
@json_option
def command(name: str | None, machine: bool) -> None:
    """List the shipped targets, or show one: every number with unit, grade and source.

    \b
    Example:
      snnhw targets loihi2
    """
    from snnhw.target import available, load_target

    if name is None:
        found = [load_target(entry) for entry in available()]
        if machine:
            emit([{"name": t.name, "title": t.title, "profile": t.profile} for t in found])
        else:
            for t in found:
                click.echo(f"{t.name:<16} {t.profile:<13} {t.title}")
        return
    target = load_target(name)
    if machine:
        sections = {section: {key: asdict(c) for key, c in table.items()} for section, table in target.sections.items()}
        emit({"name": target.name, "title": target.title, "profile": target.profile, **sections})
        return
    click.echo(f"{target.name}: {target.title} (profile {target.profile})")
    table = Table("key", "value", "unit", "grade", "source")
    for section, constants in target.sections.items():
        for key, c in constants.items():
            table.add_row(f"{section}.{key}", str(c.value), c.unit, c.grade, c.source)
    Console().print(table)
