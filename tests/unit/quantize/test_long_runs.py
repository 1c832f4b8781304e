"""Bounds over very many steps: exact while intervals move, then taken to the ends of what still does."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.fixed import LOIHI
from snnhw.network import Comparison, IntNeuron, Kind, Reset, ResetTiming
from snnhw.neurons import cuba_lif
from snnhw.neurons.alif import IntAlif
from snnhw.quantize.bounds import Bound, bound

LOW, HIGH = np.array([-3, -2, 0, 5]), np.array([0, 7, 0, 9])


def neuron(alif: bool, timing: ResetTiming, dv: int, **more: int) -> IntNeuron:
    parts = {"dv": dv, "vth": np.array(500), "bias": np.array(1), "du": 300, "reset_timing": timing, **more}
    if alif:
        return IntAlif(**parts, comparison=Comparison.GE, reset=Reset.SUBTRACT, dw=50, jump=40)
    return IntNeuron(**parts, reset=Reset.SUBTRACT)


def found(model: IntNeuron, steps: int) -> Bound:
    return bound("n", Kind.NEURON, model, LOW, HIGH, steps, widths=LOIHI)


CASES = [(False, t, dv) for t in ResetTiming for dv in (0, 3, 400)] + [
    (True, ResetTiming.SAME_STEP, dv) for dv in (3, 400)
]


@pytest.mark.parametrize(("alif", "timing", "dv"), CASES)
def test_the_end_of_the_exact_steps_only_widens(
    alif: bool, timing: ResetTiming, dv: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = neuron(alif, timing, dv)
    exact = found(model, 900)
    monkeypatch.setattr(cuba_lif, "EXACT_STEPS", 40)
    wide = found(model, 900)
    assert wide.v_low <= exact.v_low
    assert wide.v_high >= exact.v_high
    assert wide.u_low <= exact.u_low
    assert wide.u_high >= exact.u_high
    assert wide.silent <= exact.silent
    assert wide.spikes >= exact.spikes
    assert all(
        wide.others[name][0] <= low and high <= wide.others[name][1] for name, (low, high) in exact.others.items()
    )


@pytest.mark.parametrize("alif", [False, True])
def test_a_settled_proof_holds_for_any_number_of_steps(alif: bool) -> None:
    model = neuron(alif, ResetTiming.SAME_STEP, 400)
    short, long = found(model, 3000), found(model, 50_000_000)
    assert (long.u_low, long.u_high, long.v_low, long.v_high) == (short.u_low, short.u_high, short.v_low, short.v_high)
    assert long.proven


def test_what_drifts_for_ever_is_not_proven() -> None:
    """Without a leak, an input that is never positive pulls the membrane down without end."""
    model = IntNeuron(dv=0, vth=np.array(1 << 16), bias=np.array(-200), du=4096, reset=Reset.ZERO)
    nothing = np.zeros(2, np.int64)
    short = bound("n", Kind.NEURON, model, nothing, nothing, 1000, widths=LOIHI)
    long = bound("n", Kind.NEURON, model, nothing, nothing, 50_000_000, widths=LOIHI)
    assert short.proven
    assert not long.proven
    assert long.silent, "it can still not fire"
