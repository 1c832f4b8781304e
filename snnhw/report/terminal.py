"""A comparison in the terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from snnhw.comparison.tree import Comparison
from snnhw.errors import Plain
from snnhw.report import tables
from snnhw.report.numbers import plain
from snnhw.report.tables import Table
from snnhw.report.verdict import verdict

FEW = 8
"""Rows of outputs that still fit the screen."""


def show(comparison: Comparison, console: Console | None = None, *, everything: bool = False) -> None:
    """Print what fits one screen to the terminal: sentences, the summary, other ways if they were tried.

    Args:
        console: standard output if not given.
        everything: every table too.
    """
    out = console if console is not None else Console(file=_stdout())
    comparison = plain(comparison)
    for caution in comparison.warnings:
        out.print(Text(f"WARNING {caution}", style="bold red"))
    for line in verdict(comparison):
        out.print(Text(line))
    out.print()
    print_table(tables.summary(comparison), out)
    for table in tables.details(comparison) if everything else _short(comparison):
        print_table(table, out)
    for note in comparison.notes:
        out.print(Text(f"- {note}", style="bold red" if note.startswith("OVERFLOW") else "dim"))


def _short(comparison: Comparison) -> list[Table]:
    """Tables that were asked for, or that hold the answer: a few outputs judged as values."""
    outputs = tables.outputs(comparison)
    answer = [outputs] if comparison.agreement is None and 0 < len(outputs.rows) <= FEW else []
    return answer + ([tables.what_if(comparison)] if comparison.what_if else [])


def _stdout() -> Any:
    """For text that is printable already, and styled."""
    return Plain(sys.stdout.stream, styled=True) if isinstance(sys.stdout, Plain) else None


def print_table(table: Table, console: Console | None = None) -> None:
    """Its rows under its title; those with a warning in red."""
    out = console if console is not None else Console(file=_stdout())
    out.print(Text(table.title, style="bold"))
    drawn = RichTable(header_style="bold", show_edge=False)
    for i, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if i < table.names else "right", overflow="fold")
    for row in table.rows:
        flagged = any(cell.startswith("WARNING") for cell in row)
        drawn.add_row(*(Text(cell) for cell in row), style="bold red" if flagged else None)
    out.print(drawn)
    if table.note:
        out.print(Text(table.note, style="dim"))
    out.print()
