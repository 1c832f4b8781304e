"""Whole networks: sharing, relays, accumulators, and what calibration data change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.evaluate import evaluate
from snnhw.fixed import STATE_MAX
from snnhw.lowering.schedule import schedule
from snnhw.machine import load_target
from snnhw.network import Comparison, Conv, Dense, FloatNeuron, Kind, Network, Population, Projection, Readout
from tests.unit.quantize.nets import float_spikes, layer, neuron, quantized, spikes

TARGETS = ["loihi1", "loihi2"]


def residual(rng: np.random.Generator, steps: int = 4) -> Network[FloatNeuron]:
    """in -> a -> b, and c reads a + b over one convolution; scheduled."""
    shape = (3, 6, 6)
    cells = [Population("in", shape, Kind.INPUT)]
    cells += [Population(name, shape, Kind.NEURON, neuron(bias=0.1)) for name in "abc"]
    op = {name: Conv(f"w{name}", padding=(1, 1)) for name in "abc"}
    links = [("in", "a"), ("a", "b"), ("b", "c"), ("a", "c")]
    projections = tuple(Projection(f"{pre}->{post}", pre, post, op[post]) for pre, post in links)
    weights = {f"w{name}": rng.normal(scale=0.3, size=(3, 3, 3, 3)) for name in "abc"}
    return schedule(Network(tuple(cells), projections, weights, steps, Readout("rate", "c")), 62)


def images(rng: np.random.Generator, samples: int, steps: int = 4) -> np.ndarray:
    return rng.integers(0, 2, (samples, steps, 3, 6, 6))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("calibrated", [False, True])
def test_summands_share_integer_weights(target: str, calibrated: bool, rng: np.random.Generator) -> None:
    result = quantized(residual(rng), target, images(rng, 4) if calibrated else None)
    into = result.network.into("c")
    assert len(into) == 2
    assert into[0].op == into[1].op
    assert sorted(result.network.weights) == ["wa", "wb", "wc"]


@pytest.mark.parametrize("target", TARGETS)
def test_shared_weights_at_two_scales_are_stored_twice(target: str) -> None:
    """The same convolution into two populations whose other weights differ: one integer array cannot serve both."""
    shape = (1,)
    cells = [Population("in", shape, Kind.INPUT)]
    cells += [Population(name, shape, Kind.NEURON, neuron(), 1) for name in ("a", "b")]
    links = (
        Projection("in->a", "in", "a", Dense("w")),
        Projection("in->b", "in", "b", Dense("w")),
        Projection("in->b 2", "in", "b", Dense("large")),
    )
    weights = {"w": np.array([[0.3]]), "large": np.array([[0.9]])}
    network = Network(tuple(cells), links, weights, 8, Readout("rate", "b"))
    result = quantized(network, target)
    assert len(result.network.weights) == 3
    x = np.ones((1, 8, 1), np.int64)
    for name, values in float_spikes(network, x).items():
        np.testing.assert_array_equal(spikes(result, x)[f"spikes/{name}"], values)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bits", [None, 4])
def test_relays_hand_spikes_on(target: str, bits: int | None, rng: np.random.Generator) -> None:
    """A relay's membrane meets its threshold with every spike; on loihi1 `>` must not lose them."""
    relayed = schedule(residual(rng), 1)
    assert [p.name for p in relayed.populations if p.kind is Kind.RELAY] == ["a.relay1"]
    found = spikes(quantized(relayed, target, bits=bits), images(rng, 2))
    assert found["spikes/a"].any()
    np.testing.assert_array_equal(found["spikes/a"], found["spikes/a.relay1"])


@pytest.mark.parametrize("target", TARGETS)
def test_accumulator_reads_the_mean(target: str, rng: np.random.Generator) -> None:
    """W s + b at every step, divided by T once; off by the rounding of weights, not by a bias counted wrongly."""
    w, bias = rng.normal(size=(3, 20)), np.array([0.5, -1.0, 7.0])
    network = layer(w, FloatNeuron(1.0, np.zeros(()), bias), kind=Kind.ACCUMULATOR, steps=10)
    x = rng.integers(0, 2, (5, 10, 20))
    for samples in (None, x):
        result = quantized(network, target, samples)
        have = spikes(result, x)["counts"] * result.network.readout.scale
        want = float_spikes(network, x)["n"].mean(axis=1)
        np.testing.assert_allclose(have, want, atol=20 * np.abs(w).max() / 254 + 0.1)


@pytest.mark.parametrize("target", TARGETS)
def test_calibration_brings_the_integers_nearer(target: str, rng: np.random.Generator) -> None:
    """At few bits the spikes that change grow fewer, on samples that calibration did not see."""
    network = residual(rng)
    seen, fresh = images(rng, 24), images(rng, 24)
    want = dict(evaluate(network, {"in": fresh.astype(float)}))
    changed = []
    for samples in (None, seen):
        result = quantized(network, target, samples, bits=4)
        found = spikes(result, fresh)
        changed.append(sum(np.abs(found[f"spikes/{name}"] - want[name]).sum() for name in "abc"))
    assert changed[1] < 0.8 * changed[0]


def test_mean_current_is_kept(rng: np.random.Generator) -> None:
    """What rounding takes from the mean current goes into the bias."""
    network = layer(rng.normal(size=(4, 30)), neuron(comparison=Comparison.GT), steps=5)
    x = (rng.random((64, 5, 30)) < np.linspace(0.1, 0.9, 30)).astype(np.int64)
    for bits, samples, limit in ((3, x, 0.015), (3, None, 10.0)):
        made = quantized(network, "loihi2", samples, bits).network
        n = made["n"].model
        unit = np.asarray(n.vth, float)  # threshold 1.0
        current = ((x @ made.weights["w"].T) << n.act_shift) + n.bias
        error = np.abs((current / unit).mean(axis=(0, 1)) - (x @ network.weights["w"].T).mean(axis=(0, 1)))
        assert error.max() < limit
        assert samples is not None or error.max() > 0.02


def test_exact_weights_stay_exact_with_calibration(rng: np.random.Generator) -> None:
    w = rng.integers(-127, 128, (3, 8)).astype(float)
    w[:, 0] = 127
    result = quantized(layer(w, neuron(threshold=100.0)), "loihi2", rng.integers(0, 2, (9, 6, 8)))
    np.testing.assert_array_equal(result.network.weights["w"], w)
    assert not result.network["n"].model.bias.any()


@pytest.mark.parametrize("calibrated", [False, True])
def test_same_input_gives_the_same_integers(calibrated: bool) -> None:
    def once() -> list[bytes]:
        rng = np.random.default_rng(5)
        result = quantized(residual(rng), "loihi2", images(rng, 8) if calibrated else None)
        return [w.tobytes() for w in result.network.weights.values()]

    assert once() == once()


def test_rationale_names_levels_and_inputs(rng: np.random.Generator) -> None:
    model = replace(neuron(), v_min=-1.0, v_init=0.25)
    result = quantized(layer(rng.random((2, 3)), model), "loihi2")
    rows = {row.parameter for row in result.rationale if row.population == "n"}
    assert rows >= {"v_min", "v_init"}
    assert [row.parameter for row in result.rationale if row.population == "in"] == ["values"]


def test_an_accumulator_without_room_keeps_its_weights_resolution() -> None:
    """4,000 inputs that could all fire at once for 20 steps: proven at one weight unit only. The sums give way, by a
    negative exponent, not the weights; a target without any keeps 32 units and says unproven."""
    network = layer(np.ones((2, 4000)), FloatNeuron(1.0, np.zeros(()), np.zeros(())), kind=Kind.ACCUMULATOR, steps=20)
    bare = load_target("loihi1").changed({"numeric.weight_exp_min": 0})
    for target, samples, weight, exponent, proven in (
        ("loihi1", None, 254, -8, True),
        ("loihi1", np.zeros((2, 20, 4000), np.int64), 248, -2, False),
        (bare, None, 32, 0, False),
    ):
        result = quantized(network, target, samples)
        assert np.abs(result.network.weights["w"]).max() == weight
        assert result.network.projections[0].weight_exp == exponent
        assert result.bounds[-1].proven is proven
        assert result.bounds[-1].u_high < 3 << 23


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("calibrated", [False, True])
def test_a_readout_without_room_is_as_near_as_its_bits_allow(
    bits: int, calibrated: bool, rng: np.random.Generator
) -> None:
    """Loihi 1: 24 bits for 16 steps of 1,000 inputs leave the largest weight a few units; all of its bits are used."""
    network = layer(
        rng.normal(size=(5, 1000)), FloatNeuron(1.0, np.zeros(()), np.zeros(())), kind=Kind.ACCUMULATOR, steps=16
    )
    x = rng.integers(0, 2, (40, 16, 1000))
    result = quantized(network, "loihi1", x[:20] if calibrated else None, bits)
    w = result.network.weights["w"]
    assert len(np.unique(w)) >= 0.6 * ((1 << bits) - 1)
    have = spikes(result, x[20:])["counts"] * result.network.readout.scale
    want = float_spikes(network, x[20:])["n"].mean(axis=1)
    error = np.sqrt(np.square(have - want).mean() / np.square(want).mean())
    assert error < (1.0 if calibrated else 4.0) * 2.0**-bits


def test_an_accumulator_has_room_for_twice_what_the_data_reached(rng: np.random.Generator) -> None:
    """Loihi 1 has no shift to give way with: the scale leaves one bit, or two where exponents are whole."""
    network = layer(rng.uniform(0.1, 1.0, (3, 20)), neuron(), kind=Kind.ACCUMULATOR, steps=400)
    x = np.ones((2, 400, 20), np.int64)
    result = quantized(network, "loihi1", x)
    assert STATE_MAX / 4.1 < np.abs(spikes(result, x)["v/n"]).max() < STATE_MAX / 1.96
    assert np.abs(result.network.weights["w"]).max() >= 250, "the exponent gives way, not the weights"
