"""The tutorial of each framework runs from top to bottom, and its page shows what such a run shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest

from tests.frontends.environments import VARIABLE
from tests.frontends.notebooks import PAGES, executed, text_of


@pytest.mark.skipif(os.environ.get(VARIABLE) not in PAGES, reason="no tutorial of this framework")
def test_a_tutorial(tmp_path: Path) -> None:
    page = PAGES[os.environ[VARIABLE]]
    shown, found = nbformat.read(page, as_version=4), executed(page, tmp_path)
    assert [cell.get("execution_count") for cell in shown.cells] == [c.get("execution_count") for c in found.cells]
    for was, now in zip(shown.cells, found.cells, strict=True):
        assert [out.output_type for out in was.get("outputs", ())] == [
            out.output_type for out in now.get("outputs", ())
        ]
    verdict = next(text_of(cell) for cell in found.cells if cell.source.rstrip().endswith("print(report)"))
    (agreement,) = re.findall(r"decide as the float network on ([\d.]+) % of 100 samples", verdict)
    assert float(agreement) >= 90
