"""`snnhw examples`."""

from __future__ import annotations

import click

from snnhw.commands.common import emit, json_option


@click.command("examples")
@json_option
def command(machine: bool) -> None:
    """List the networks and data that ship with snnhw; each can be given as example:NAME.

    \b
    Example:
      snnhw examples --json
      snnhw compile example:sew_resnet --target loihi2
    """
    from snnhw.shipped import examples

    found = [{"name": name, "path": str(path), "what": what} for name, (path, what) in examples().items()]
    if machine:
        emit(found)
        return
    for row in found:
        click.echo(f"example:{row['name']}\n    {row['what']}\n    {row['path']}")
