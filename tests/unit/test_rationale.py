"""Reasons are typed: what a program decides by is a field, and what is none of the kinds is refused."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.rationale import Effect, Reason, rounded


def test_a_reason_is_a_row() -> None:
    reason = Reason("n", "vth", 64, 1.0, Effect.ROUNDED, "threshold * scale")
    assert reason.to_dict() == {
        "population": "n",
        "parameter": "vth",
        "integer": 64,
        "real": 1.0,
        "kind": "rounded",
        "why": "threshold * scale",
    }


def test_kinds_are_named() -> None:
    assert Reason("n", "vth", 64, None, "lossless", "").kind is Effect.LOSSLESS  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'perhaps' is not a valid Effect"):
        Reason("n", "vth", 64, None, "perhaps", "")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"population": 3}, {"text": None}, {"integer": [1]}, {"real": np.ones(2)}])
def test_fields_are_texts_and_figures(bad: dict[str, object]) -> None:
    good = {"population": "n", "parameter": "vth", "integer": 64, "real": 1.0, "kind": Effect.EXACT, "text": ""}
    with pytest.raises(TypeError, match="not a reason"):
        Reason(**(good | bad))  # type: ignore[arg-type]


def test_rounded_or_exact() -> None:
    assert rounded(4096, 4096.0) is Effect.EXACT
    assert rounded(np.array([1, 2]), np.array([1.0, 2.0])) is Effect.EXACT
    assert rounded(np.array([1, 2]), np.array([1.0, 2.25])) is Effect.ROUNDED
