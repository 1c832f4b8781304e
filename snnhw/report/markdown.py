"""A comparison as Markdown."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from snnhw import files
from snnhw.comparison.tree import Comparison
from snnhw.report import tables
from snnhw.report.numbers import plain
from snnhw.report.tables import Table
from snnhw.report.verdict import verdict


def markdown(comparison: Comparison) -> str:
    """The whole comparison, one section a table."""
    comparison = plain(comparison)
    head = f"# {cell(comparison.target)}: float and quantised network compared\n"
    head += "".join(f"\n{cell(line)}\n" for line in verdict(comparison))
    body = [section(table) for table in (tables.summary(comparison), *tables.details(comparison))]
    notes = "## Notes\n\n" + "\n".join(f"- {cell(note)}" for note in comparison.notes) + "\n"
    cautions = [f"**WARNING** {cell(str(caution))}\n" for caution in comparison.warnings]
    return "\n".join([head, *cautions, *body, notes])


def write_markdown(comparison: Comparison, path: str | Path) -> None:
    """Write the file in one go (`files.write`)."""
    files.write({Path(path): markdown(comparison)}, folders=True)


def section(table: Table) -> str:
    """A table under its title."""
    lines = [f"## {cell(table.title)}", "", _row(table.columns)]
    lines.append("|" + "|".join("---" if i < table.names else "---:" for i in range(len(table.columns))) + "|")
    lines += [_row(row) for row in table.rows]
    return "\n".join([*lines, *(["", cell(table.note)] if table.note else []), ""])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(cell, cells)) + " |"


def cell(text: str) -> str:
    """Text that no reader of Markdown takes for a mark, a formula or HTML."""
    text = escape(text, quote=False).replace("\n", " ")
    return re.sub(r"[\\`*|$]|~(?=~)|\](?=[(\[:])|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
