"""The tutorial of each framework runs as pasted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.frontends.environments import VARIABLE
from tests.pages import run_blocks

PAGES = {"snntorch": "docs/tutorial_snntorch.md", "spikingjelly": "docs/tutorial_spikingjelly.md"}


@pytest.mark.skipif(os.environ.get(VARIABLE) not in PAGES, reason="no tutorial of this framework")
def test_a_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_blocks(PAGES[os.environ[VARIABLE]])["report"].samples == 100
