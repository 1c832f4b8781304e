"""The demo's own judgement: what it compares, and when it must not say 'identical'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnhw import demo, shipped
from snnhw.errors import EngineError, SourceError


def test_everything_recorded_is_compared() -> None:
    run = {"output": np.zeros(3), "spikes/a": np.zeros((2, 3)), "u/a": np.zeros((2, 3)), "v/a": np.zeros((2, 3))}
    assert demo._compared(run, dict(run)) == 18


def test_runs_of_different_populations_are_refused() -> None:
    with pytest.raises(EngineError) as caught:
        demo._compared({"spikes/a": np.zeros(2)}, {"spikes/b": np.zeros(2)})
    assert str(caught.value) == (
        "not-comparable: the engines recorded different populations\n  where: spikes/a, spikes/b"
    )


def test_a_missing_example_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "shipped_folder", lambda name: tmp_path)
    with pytest.raises(SourceError) as caught:
        shipped.example("x.pt")
    assert str(caught.value) == (
        f"no-example: a file that ships with snnhw is missing\n  where: {tmp_path / 'x.pt'}\n"
        "  hint: install snnhw again"
    )
