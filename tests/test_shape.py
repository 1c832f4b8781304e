"""Small files, small functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "snnhw").rglob("*.py"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
MEDIAN_LINES = 150


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_is_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_small(path: Path) -> None:
    large = [f"{name}: {lines}" for name, lines in functions(path) if lines > MOST_FUNCTION_LINES]
    assert not large


def test_median_file_is_small() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    written = [n for n in lengths if n > 0]
    assert written[len(written) // 2] <= MEDIAN_LINES


def functions(path: Path) -> list[tuple[str, int]]:
    """Name and length of every function, decorators left out."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.name, (n.end_lineno or n.lineno) - n.lineno + 1) for n in nodes if isinstance(n, kinds)]
