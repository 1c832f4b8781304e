"""Thresholds, biases and decays of one neuron model, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnhw.machine import load_target
from snnhw.network import Comparison, IntNeuron, Kind, Population, Reset
from snnhw.quantize.formats import formats_of
from snnhw.quantize.neuron import decay, make_neuron
from tests.unit.quantize.nets import float_spikes, layer, neuron, quantized, spikes


def made(target: str, scale: float, shift: int = 6, even: bool = True, **more: Any) -> IntNeuron:
    population = Population("n", (2,), Kind.NEURON, neuron(**more), 1)
    return make_neuron(population, np.asarray(scale), shift, formats_of(load_target(target), None), even).neuron


def test_ge_becomes_gt_one_mantissa_lower_where_v_is_a_multiple_of_it() -> None:
    assert made("loihi1", 100.0).vth == 99 << 6
    assert made("loihi1", 100.0, comparison=Comparison.GT).vth == 100 << 6
    assert made("loihi1", 100.0, keep=0.9).vth == 99 << 6  # a leak: sums from rest still meet the threshold
    assert made("loihi2", 100.0).vth == 100 << 6
    assert made("loihi2", 100.0).comparison is Comparison.GE


@pytest.mark.parametrize(
    ("threshold", "comparison", "vth"),
    [
        (2.0, "ge", 64),
        (2.0, "gt", 192),
        (1.9, "ge", 64),
        (1.9, "gt", 64),
        (2.1, "ge", 192),
        (2.1, "gt", 192),
        (2 - 1e-13, "gt", 192),
    ],
)
def test_memoryless_stock_neuron_separates_multiples_of_128(threshold: float, comparison: str, vth: int) -> None:
    """Weights are even, so v is 128 k and at most 63 that 4095/4096 of decay leaves: the threshold lies between."""
    assert made("loihi1", 1.0, threshold=threshold, comparison=Comparison(comparison), keep=0.0).vth == vth


def test_injected_currents_are_not_even() -> None:
    assert made("loihi1", 1.0, even=False, threshold=2.0, keep=0.0).vth == 64
    assert made("loihi1", 1.0, even=False, threshold=2.0, keep=0.0, comparison=Comparison.GT).vth == 128


@pytest.mark.parametrize(
    ("bias", "keep", "mantissa", "exponent"),
    [(0.3, 0.9, 1920, 0), (0.8, 0.9, 2560, 1), (60.0, 0.9, 3000, 7), (0.333, 1.0, 33, 6), (0.337, 0.0, 17, 7)],
)
def test_bias_formats_of_loihi1(bias: float, keep: float, mantissa: int, exponent: int) -> None:
    """13 bit << 0..7: the smallest exponent that fits, but 6 or 7 where v must stay a multiple of 64 or 128."""
    assert made("loihi1", 100.0, bias=bias, keep=keep).bias == mantissa << exponent


def test_bias_of_loihi2_has_24_bit() -> None:
    assert made("loihi2", 100.0, bias=0.333).bias == round(0.333 * 6400)


@pytest.mark.parametrize(
    ("keep", "dv1", "dv2"), [(1.0, 0, 0), (0.2, 3277, 3277), (0.25, 3072, 3072), (0.0, 4095, 4096)]
)
def test_decay(keep: float, dv1: int, dv2: int) -> None:
    assert decay(keep, "membrane", "n", 4096) == dv2
    assert (made("loihi1", 100.0, keep=keep).dv, made("loihi2", 100.0, keep=keep).dv) == (dv1, dv2)


def test_levels_in_membrane_units() -> None:
    n = made("loihi2", 10.0, reset=Reset.V_RESET, v_reset=-0.5, v_min=-1.0, v_init=0.25)
    assert (n.v_reset, n.v_min, n.v_init) == (-320, -640, 160)


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_silent_channels_fire_by_their_bias(target: str) -> None:
    """SEW AND at identity: gamma 0, beta 1 = threshold; fires at every step only because of >= (seeds.md W10)."""
    w = np.array([[0.0, 0.0], [0.37, -0.21]])
    for weights in (w, 0 * w):
        network = layer(weights, neuron(bias=[1.0, 0.0]), steps=4)
        result = quantized(network, target)
        assert np.isfinite(result.network.weights["w"]).all()
        x = np.zeros((1, 4, 2), np.int64)
        np.testing.assert_array_equal(spikes(result, x)["spikes/n"], float_spikes(network, x)["n"])
        assert spikes(result, x)["spikes/n"][0, :, 0].tolist() == [1, 1, 1, 1]


def test_a_smaller_shift_is_taken_where_the_threshold_does_not_fit_the_largest() -> None:
    """Threshold 10^4 times the largest weight: the scale is cut to 2**20 units, of which << 2 fits into v."""
    network = layer(np.array([[1e-4, 0.71234e-4, 0.3217e-4]]), neuron(), steps=2)
    n = quantized(network, "loihi2").network["n"].model
    assert n.act_shift == 2
    assert n.vth == (1 << 20) << 2
