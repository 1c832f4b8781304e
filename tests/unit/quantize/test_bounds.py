"""Interval bounds: what is shared or left out for speed changes nothing; silence is only said where it is certain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.fixed import LOIHI
from snnhw.network import (
    Array,
    Comparison,
    Conv,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)
from snnhw.quantize import bounds
from snnhw.quantize.bounds import Bound, arriving_range, bound


def fires(neuron: IntNeuron, low: Array, high: Array, steps: int = 4, kind: Kind = Kind.NEURON) -> Bound:
    return bound("n", kind, neuron, low, high, steps, widths=LOIHI)


def integrating(vth: int, comparison: Comparison = Comparison.GT, dv: int = 0) -> IntNeuron:
    return IntNeuron(dv=dv, vth=np.asarray(vth), bias=np.asarray(0), act_shift=0, comparison=comparison, du=4096)


@pytest.mark.parametrize(
    ("comparison", "vth", "silent"),
    [
        (Comparison.GT, 40, True),
        (Comparison.GT, 39, False),
        (Comparison.GE, 41, True),
        (Comparison.GE, 40, False),
    ],
)
def test_silence_is_exact_at_the_threshold(comparison: Comparison, vth: int, silent: bool) -> None:
    """Ten a step for four steps come to 40 and no further."""
    found = fires(integrating(vth, comparison), np.full(3, -10), np.array([5, 10, 0]))
    assert found.silent is silent
    assert ("silent" in found.to_dict()) is silent


def test_a_leak_that_eats_a_constant_input_is_silent_for_ever() -> None:
    """v = v/2 + 8 stays below 16: SEW's AND with PLIF neurons and a branch of ones never reaches its threshold."""
    assert fires(integrating(16, Comparison.GE, dv=2048), np.zeros(2, int), np.full(2, 8), steps=64).silent
    assert not fires(integrating(15, Comparison.GE, dv=2048), np.zeros(2, int), np.full(2, 8), steps=64).silent


def test_one_neuron_that_can_fire_is_enough() -> None:
    high = np.zeros((2, 3, 3), int)
    high[1, 2, 2] = 50
    assert not fires(integrating(40), np.zeros_like(high), high).silent


def test_a_current_that_may_wrap_proves_nothing() -> None:
    """Far enough below -2**23 a current comes back from above."""
    low = np.full(1, -(1 << 24))
    assert not fires(integrating(40), low, np.zeros(1, int)).silent


def test_accumulators_never_fire_and_are_not_called_silent() -> None:
    assert not fires(integrating(40), np.zeros(1, int), np.zeros(1, int), kind=Kind.ACCUMULATOR).silent


@pytest.mark.parametrize("everywhere", [True, False])
def test_rows_and_columns_that_repeat_change_nothing(
    everywhere: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of every pixel is that of the distinct ones; a bias of its own makes a pixel distinct."""
    rows, columns = np.repeat([3, 5, 4, 1], [1, 5, 1, 2]), np.repeat([2, 6, 1], [2, 4, 1])
    high = rng.integers(1, 9, (5, 1, 1)) * (rows[:, None] + columns) + 1
    bias = np.zeros((5, 1, 1), int) if everywhere else rng.integers(-30, 30, high.shape)
    neuron = replace(integrating(60), bias=bias, vth=rng.integers(20, 90, (5, 1, 1)))
    kept, _ = bounds._distinct(neuron, -high, high)
    assert kept.shape == ((5, 4, 3) if everywhere else high.shape)
    short = fires(neuron, -high, high)
    monkeypatch.setattr(bounds, "_distinct", lambda _neuron, low, high: (low, high))
    assert short == fires(neuron, -high, high)


def test_summands_that_share_weights_are_bounded_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three summands over one kernel: one interval product, three times its range."""
    calls = []
    real = Conv.reach
    monkeypatch.setattr(Conv, "reach", lambda *a: calls.append(a) or real(*a))
    shape = (2, 5, 5)
    inputs = tuple(Population(f"i{k}", shape, Kind.INPUT) for k in range(3))
    post = Population("n", shape, Kind.NEURON, integrating(40), 1)
    op = Conv("w", padding=(1, 1))
    weights = {"w": rng.integers(-9, 9, (2, 2, 3, 3)).astype(np.int32)}
    ways = tuple(Projection(f"{p.name}->n", p.name, "n", op) for p in inputs)
    both = [Network((*inputs, post), part, weights, 4, Readout("rate", "n")) for part in (ways, ways[:1])]
    (low, high), (low_one, high_one) = (arriving_range(network, post) for network in both)
    assert len(calls) == 2
    np.testing.assert_array_equal(low, 3 * low_one)
    np.testing.assert_array_equal(high, 3 * high_one)


@pytest.mark.parametrize("most", [1, 3])
def test_the_debt_of_a_next_step_reset_is_that_of_all_spikes(most: int) -> None:
    """v = 30 fires three times at a threshold of 10; of 30 half stays, 30 are charged: -15, less what arrives."""
    n = integrating(10, Comparison.GE, dv=2048)
    n = replace(n, reset=Reset.SUBTRACT, reset_timing=ResetTiming.NEXT_STEP, max_spikes=most)
    found = fires(n, np.full(1, -4), np.full(1, 30), steps=2)
    assert found.v_low == {1: 10 // 2 - 10 - 4, 3: 30 // 2 - 30 - 4}[most]
