"""`snnhw targets`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

import click

from snnhw.commands.common import TargetName, emit, json_option, set_option


@click.command("targets")
@click.argument("name", required=False, type=TargetName())
@set_option
@json_option
def command(name: str | None, settings: dict[str, Any], machine: bool) -> None:
    """List the shipped targets, or check and show one, or a .toml file: every number with unit, grade and source.

    \b
    Example:
      snnhw targets loihi2
      snnhw targets my.toml --set core.neurons=512
    """
    from snnhw.machine import EVENTS, available, load_target

    if name is None:
        if settings:
            raise click.UsageError("--set is for one target: name it")
        found = [load_target(entry) for entry in available()]
        if machine:
            emit([{"name": t.name, "title": t.title, "profile": t.profile} for t in found])
        else:
            for t in found:
                click.echo(f"{t.name:<16} {t.profile:<13} {t.title}")
        return
    target = load_target(name, settings)
    if machine:
        said: dict[str, Any] = {"name": target.name, "title": target.title, "profile": target.profile}
        for key, constant in target.constants.items():
            section, _, rest = key.partition(".")
            entry = {name: value for name, value in asdict(constant).items() if name != "alternatives" or value}
            said.setdefault(section, {})[rest] = entry
        emit(said)
        return
    click.echo(f"{target.name}: {target.title} (profile {target.profile})")
    for key, c in target.constants.items():
        alone = " (event time alone)" if key in EVENTS else ""
        click.echo(f"{key}{alone} = {c.value} {c.unit} [{c.grade}]")
        click.echo(textwrap.fill(c.source, 78, initial_indent="    ", subsequent_indent="    "))
