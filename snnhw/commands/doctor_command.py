"""`snnhw doctor`."""

from __future__ import annotations

import sys

import click

from snnhw.commands.common import emit, json_option


@click.command("doctor")
@json_option
def command(machine: bool) -> None:
    """What this machine lacks, with the exact command that fixes it. Exits 1 when something needed is missing.

    \b
    Example:
      snnhw doctor
    """
    from snnhw.doctor import diagnose

    findings = diagnose()
    if machine:
        emit([{"name": f.name, "ok": f.ok, "detail": f.detail, "fix": f.fix, "optional": f.optional} for f in findings])
    else:
        for f in findings:
            mark = "ok" if f.ok else "optional" if f.optional else "MISSING"
            click.echo(f"{mark:<9} {f.name:<16} {f.detail}" + (f"\n          fix: {f.fix}" if f.fix else ""))
    sys.exit(1 if any(f.failed for f in findings) else 0)
