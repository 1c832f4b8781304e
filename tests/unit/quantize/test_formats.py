"""Weights a target has: even steps on loihi1, any integer on loihi2, fewer bits with larger steps."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.errors import QuantizeError
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


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(QuantizeError) as caught:
        formats_of(load_target("loihi2"), bits)
    assert str(caught.value) == (
        "bad-weight-bits: the target does not have weights of that width\n"
        f"  where: --weight-bits {bits}\n  needed: {bits}\n  limit: 2 to 8\n  hint: choose 2 to 8"
    )
