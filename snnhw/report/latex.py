"""A report's table as LaTeX, for `booktabs`."""

from __future__ import annotations

import re

from snnhw.report.tables import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "µ": r"\textmu{}",
    "[": "{[}",
    "\n": " ",
} | {mark: f"\\{mark}" for mark in "&%$#_{}"}


def latex(table: Table) -> str:
    """A `tabular` between rules, names left and numbers right; the note as a comment."""
    columns = "".join("l" if i < table.names else "r" for i in range(len(table.columns)))
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _row(table.columns), r"\midrule"]
    lines += [*map(_row, table.rows), r"\bottomrule", r"\end{tabular}"]
    note = "% " + " ".join(table.note.split())
    return "\n".join([f"% {' '.join(table.title.split())}", *lines, *([note] if table.note else []), ""])


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return re.sub(r"[\\~^<>µ\[\n&%$#_{}]", lambda mark: _SPECIAL[mark.group()], text)
