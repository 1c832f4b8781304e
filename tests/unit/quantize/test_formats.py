"""Weights a target has: even steps on loihi1, any integer on loihi2, fewer bits with larger steps."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.machine import load_target
from snnhw.quantize.formats import formats_of, round_weights


@pytest.mark.parametrize(
    ("target", "bits", "step", "largest"),
    [
        ("loihi1", None, 2, 254),
        ("loihi1", 5, 16, 240),
        ("loihi1", 2, 128, 128),
        ("loihi2", None, 1, 127),
        ("loihi2", 4, 1, 7),
    ],
)
def test_steps(target: str, bits: int | None, step: int, largest: int) -> None:
    formats = formats_of(load_target(target), bits)
    assert (formats.step, formats.high) == (step, largest)
    w = round_weights(np.linspace(-2, 2, 999), float(largest), formats)
    assert set(np.abs(w) % step) == {0}
    assert (w.min(), w.max()) == (-largest, largest)
    inside = np.linspace(-1, 1, 999)
    assert np.abs(round_weights(inside, float(largest), formats) - inside * largest).max() <= step / 2
