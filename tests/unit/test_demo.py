"""The demo's own judgement: what it compares, and when it must not say 'identical'."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw import demo
from snnhw.errors import EngineError


def test_everything_recorded_is_compared() -> None:
    run = {"output": np.zeros(3), "spikes/a": np.zeros((2, 3)), "u/a": np.zeros((2, 3)), "v/a": np.zeros((2, 3))}
    assert demo._compared(run, dict(run)) == 18


def test_runs_of_different_populations_are_refused() -> None:
    with pytest.raises(EngineError) as caught:
        demo._compared({"spikes/a": np.zeros(2)}, {"spikes/b": np.zeros(2)})
    assert str(caught.value) == (
        "not-comparable: the engines recorded different populations\n  where: spikes/a, spikes/b"
    )
