"""`make shape`: what the package's files know of, how long they are, how much code there is. No test.

A file that mentions reset timing, `v_min` or the type of an operator knows a rule that a neuron model or an operator
could keep to itself. A file over 400 lines or a function over 60 is worth a look, and no reason to cut it in two.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 12
"""How many of the longest files and functions are listed."""

MENTIONS = {
    "reset timing": (r"reset_timing|ResetTiming|NEXT_STEP", 27),
    "v_min": (r"v_min", 31),
    "operator types": (r"(isinstance\([^)]*|case )\b(Dense|Conv|Diagonal|Sparse|Inject)\b", 27),
}
"""What is searched, line by line; files of snnhw/ that mentioned it before neurons and operators were objects."""

STATEMENTS_BEFORE = 17107
"""Statements of snnhw/ before neurons and operators were objects."""


def statements(text: str) -> int:
    """Statements of a source text as its syntax tree counts them, docstrings left out."""
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in ast.walk(ast.parse(text)))


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def functions(text: str) -> list[tuple[str, int]]:
    """Name and length of every function, decorators left out."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in nodes]


def main() -> None:
    texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in sorted((ROOT / "snnhw").rglob("*.py"))}
    for name, (pattern, before) in MENTIONS.items():
        found = [path for path, text in texts.items() if any(re.search(pattern, line) for line in text.splitlines())]
        print(f"{name}: {len(found)} files, {before} before (grep -rlE '{pattern}' snnhw --include='*.py')")
        print("".join(f"  {path}\n" for path in found))
    long = [(f"{path}:{name}", n) for path, text in texts.items() for name, n in functions(text)]
    files = [(path, len(text.splitlines())) for path, text in texts.items()]
    for title, rows in (("files", files), ("functions", long)):
        print(f"longest {title} of {len(rows)}, in lines")
        print("".join(f"  {n:5d}  {name}\n" for name, n in sorted(rows, key=lambda row: -row[1])[:SHOWN]))
    print(f"statements: {sum(map(statements, texts.values()))}, {STATEMENTS_BEFORE} before (docstrings left out)")


if __name__ == "__main__":
    main()
