"""What the tutorial shows is what happens: its blocks run as pasted, and its sample output is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import ROOT, run_blocks


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_blocks("docs/tutorial.md")
    report = names["report"]
    assert report.agreement > 0.95
    assert report.float_.accuracy > 0.6
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "figures" / "layers.tex").is_file()
    shown = re.search(r"```text\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    printed = repr(names["artifact"]).splitlines()
    assert [line[:13] for line in shown[1].splitlines()] == [line[:13] for line in printed], "the same rows"
    for line in shown[1].splitlines():
        assert line in printed or line.startswith(("checks", "cores used", "map ends"))
