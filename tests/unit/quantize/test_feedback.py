"""Loops, constants, spikes without a maximum, and readouts that leak: what quantisation makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.encoding import encode
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Recorder
from snnhw.errors import QuantizeError
from snnhw.machine import load_target, parse_target
from snnhw.network import (
    Array,
    Comparison,
    Dense,
    FloatNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
)
from snnhw.quantize.activity import Activity, calibration_samples
from snnhw.quantize.quantize import Quantized, quantize
from snnhw.quantize.spikes import LOOP_SPIKES
from snnhw.semantics import UNLIMITED
from tests.generate import machine
from tests.unit.quantize.nets import deployment, float_spikes, layer, neuron, quantized, spikes, with_constant

TARGETS = pytest.mark.parametrize("target", ["loihi1", "loihi2"])


def looped(w: Array, r: Array, model: FloatNeuron, steps: int = 6) -> Network[FloatNeuron]:
    """A layer that reads an input and itself."""
    base = layer(w, model, steps=steps)
    cells = (base["in"], replace(base["n"], payload=(0, model.max_spikes)))
    links = (*base.projections, Projection("n->n", "n", "n", Dense("r"), 1, 0, 1))
    return replace(base, populations=cells, projections=links, weights={**base.weights, "r": np.asarray(r, float)})


def ran(result: Quantized, x: Array, profile: str = "programmable") -> dict[str, Array]:
    recorder = Recorder(result.network, spikes=True, state=True)
    values = encode(x, result.inputs, result.network.steps)
    FastEngine().run(result.network, machine(profile), [values], [recorder])
    return recorder.arrays()


@TARGETS
def test_whole_weights_in_a_loop_give_the_float_spikes(target: str, rng: np.random.Generator) -> None:
    w, r = rng.integers(-5, 8, (6, 5)), rng.integers(-4, 4, (6, 6))
    w[:, 0] = 127
    network = looped(w, r, neuron(4.0))
    x = rng.integers(0, 2, (12, 6, 5)) * np.array([0, 1, 1, 1, 1])
    want = float_spikes(network, x)["n"]
    result = quantized(network, target)
    np.testing.assert_array_equal(spikes(result, x)["spikes/n"], want)
    without = float_spikes(replace(network, projections=network.projections[:1]), x)["n"]
    assert (want != without).any()


@TARGETS
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_loop_keeps_its_rates(target: str, calibrated: bool, rng: np.random.Generator) -> None:
    network = looped(rng.normal(size=(30, 40)) * 0.15, rng.normal(size=(30, 30)) * 0.08, neuron(keep=0.9), steps=12)
    x = (rng.random((60, 12, 40)) < 0.2).astype(np.int64)
    result = quantized(network, target, x if calibrated else None)
    want, have = float_spikes(network, x)["n"], spikes(result, x)["spikes/n"]
    assert 0.03 < want.mean() < 0.5
    assert have.mean() == pytest.approx(want.mean(), rel=0.03)
    assert all(bound.proven for bound in result.bounds)


def test_bounds_of_a_loop_know_what_comes_round(rng: np.random.Generator) -> None:
    """Seven neurons of weight 1 can add seven more than the input does."""
    network = looped(np.full((7, 1), 127.0), np.ones((7, 7)), neuron(200.0), steps=1)
    (limit,) = quantized(network, "loihi2").bounds
    assert limit.u_high == (127 + 7) << 6


def unlimited(**more: Any) -> FloatNeuron:
    more.setdefault("reset", Reset.SUBTRACT)
    return neuron(max_spikes=UNLIMITED, **more)


def max_spikes_row(result: Quantized) -> dict[str, Any]:
    (row,) = (row for row in result.rationale if row.parameter == "max_spikes")
    return row


def test_unlimited_spikes_are_those_that_are_proven_possible(rng: np.random.Generator) -> None:
    """Ten inputs of weight 1 and a threshold of 3, for two steps: six at most (20 // 3), for the float neuron too."""
    network = layer(np.ones((2, 10)), unlimited(threshold=3.0, comparison=Comparison.GE), steps=2)
    result = quantized(network, "loihi2")
    n = result.network["n"]
    assert (n.model.max_spikes, n.payload) == (4, (0, 4))  # 10 = 3 * 3 + 1, then 1 + 10 = 11 = 3 * 3 + 2; bound 3 + 10
    row = max_spikes_row(result)
    assert (row.integer, row.real) == (4, "unlimited")
    assert row.text == "all that the membrane is proven to reach: 4 thresholds"
    x = rng.integers(0, 2, (20, 2, 10))
    x[0] = 1
    want = float_spikes(network, x)["n"]
    np.testing.assert_array_equal(spikes(result, x)["spikes/n"], want)
    assert want.max() == 3


def test_a_payload_too_small_for_what_is_possible_is_said(rng: np.random.Generator) -> None:
    """A target of one's own with 2-bit spikes: 40 less 3 * 2, and 40 again, are 37 thresholds."""
    text = load_target("loihi2").text.replace("payload_bits = { value = 24", "payload_bits = { value = 2")
    network = layer(np.ones((2, 40)), unlimited(threshold=2.0), steps=2)
    result = quantize(network, parse_target("mine", text), deployment(network), None)
    assert result.network["n"].payload == (0, 3)
    assert max_spikes_row(result).text == (
        "approximate: at most 3, more spikes in one step are lost; the membrane may reach 37"
    )
    five = replace(network, populations=(network["in"], replace(network["n"], neuron=neuron(2.0, max_spikes=5))))
    assert max_spikes_row(quantize(five, parse_target("mine", text), deployment(network), None)).real == 5


def test_spikes_in_a_loop_are_limited_by_what_calibration_saw(rng: np.random.Generator) -> None:
    network = looped(np.full((3, 4), 1.0), np.full((3, 3), 0.5), unlimited(threshold=2.0), steps=5)
    x = np.ones((4, 5, 4), np.int64)
    assert float_spikes(network, x)["n"].max() == 6
    known = quantized(network, "loihi2", x)
    assert max_spikes_row(known).text == "all that the membrane is proven to reach: 26 thresholds"  # with 31 back
    growing = replace(network, weights={**network.weights, "r": np.full((3, 3), 2.0)})
    most = int(float_spikes(growing, x)["n"].max())
    limit = (1 << (4 * most).bit_length()) - 1
    known = quantized(growing, "loihi2", x)
    assert known.network["n"].payload == (0, limit)
    assert max_spikes_row(known).text.startswith(f"approximate: at most {limit}, more spikes in one step are lost;")
    blind = quantized(growing, "loihi2").network["n"]
    assert blind.model.max_spikes == LOOP_SPIKES


def test_no_spike_is_lost_where_none_is_said_to_be(rng: np.random.Generator) -> None:
    """Random unlimited neurons, all inputs on: the integer neuron never stands at its limit with more to send."""
    for reset in Reset:
        network = layer(rng.uniform(0, 1, (5, 12)), unlimited(keep=0.9, reset=reset, threshold=0.7), steps=6)
        result = quantized(network, "loihi2")
        free = replace(result.network["n"].model, max_spikes=UNLIMITED)
        cells = tuple(replace(p, neuron=free) if p.name == "n" else p for p in result.network.populations)
        x = (rng.random((30, 6, 12)) < 0.9).astype(np.int64)
        x[0] = 1
        wide = spikes(replace(result, network=replace(result.network, populations=cells)), x)["spikes/n"]
        np.testing.assert_array_equal(spikes(result, x)["spikes/n"], wide)
        assert wide.max() > 3


def test_loihi1_has_no_unlimited_spikes() -> None:
    with pytest.raises(QuantizeError) as caught:
        quantized(layer(np.ones((2, 3)), neuron(max_spikes=UNLIMITED)), "loihi1")
    assert str(caught.value) == (
        "unsupported-neuron: target loihi1 has no such spikes per step\n  where: n\n  needed: unlimited\n  limit: 1\n"
        "  hint: use --target loihi2, or train with what the target has"
    )


@TARGETS
def test_a_constant_fires_at_every_step(target: str, rng: np.random.Generator) -> None:
    w = rng.integers(-5, 8, (4, 6)).astype(float)
    w[:, 0] = 127.0
    network = with_constant(w, np.array([1, 2, 0, -3]), neuron(9.0, u_keep=1.0 if target == "loihi1" else 0.5))
    x = rng.integers(0, 2, (8, 6, 6)) * np.array([0, 1, 1, 1, 1, 1])
    result = quantized(network, target)
    have = spikes(result, x)
    assert (have["spikes/n.constant"] == 1).all()
    want = float_spikes(network, x)["n"]
    same = (have["spikes/n"] == want).mean()
    assert same == 1.0 if target == "loihi1" else same > 0.98
    n = result.network["n.constant"].model
    assert (int(n.bias), int(n.vth)) == ((128, 64) if target == "loihi1" else (1, 0))


def readout(model: FloatNeuron, kind: str, rng: np.random.Generator) -> Network[FloatNeuron]:
    base = layer(rng.normal(size=(5, 12)), model, kind=Kind.ACCUMULATOR, steps=9)
    return replace(base, readout=Readout(kind, "n"))


@TARGETS
@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(("keep", "u_keep"), [(0.9, 0.0), (0.5, 0.8), (1.0, 0.0), (0.0, 0.5), (0.97, 0.97)])
def test_a_leaking_readout_comes_back_in_reals(
    target: str, calibrated: bool, keep: float, u_keep: float, rng: np.random.Generator
) -> None:
    network = readout(neuron(0.0, rng.normal(size=5) * 0.1, keep, u_keep=u_keep), "membrane", rng)
    x = (rng.random((40, 9, 12)) < 0.3).astype(np.int64)
    result = quantized(network, target, x if calibrated else None)
    found = ran(result, x)
    want = float_spikes(network, x)["n"]
    np.testing.assert_allclose(found["output"] * result.network.readout.scale, want, atol=0.02 * np.abs(want).max())
    assert found["saturations"] == 0
    assert (found["predictions"] == want.sum(axis=1).argmax(axis=1)).mean() >= 0.95


def test_a_readout_begins_where_the_float_one_does(rng: np.random.Generator) -> None:
    start = np.array([0.0, 1.0, 2.0, -1.0, 0.5])
    network = readout(neuron(0.0, 0.0, 0.5, v_init=start), "membrane", rng)
    x = np.zeros((1, 9, 12), np.int64)
    result = quantized(network, "loihi2")
    found = ran(result, x)["output"] * result.network.readout.scale
    np.testing.assert_allclose(found[0, 0], start / 2, atol=1e-3)
    with pytest.raises(QuantizeError, match="target loihi1 has no such initial v"):
        quantized(network, "loihi1")


def test_the_mean_is_still_a_mean(rng: np.random.Generator) -> None:
    network = readout(neuron(0.0, 0.25), "mean", rng)
    x = (rng.random((7, 9, 12)) < 0.3).astype(np.int64)
    result = quantized(network, "loihi2")
    found = ran(result, x)["counts"] * result.network.readout.scale
    np.testing.assert_allclose(found, float_spikes(network, x)["n"].mean(axis=1), atol=0.02)


def crossed() -> Network[FloatNeuron]:
    """a feeds b and back; y, which reads a, stands between them in the network's order."""
    names = (("a", 1), ("y", 2), ("b", 2))
    cells = [Population("in", (3,), Kind.INPUT)]
    cells += [Population(name, (3,), Kind.NEURON, neuron(keep=0.5), start) for name, start in names]
    ways = (("in", "a", 1, 0), ("a", "y", 1, 0), ("a", "b", 1, 0), ("b", "a", 1, 2))
    links = tuple(Projection(f"{pre}->{post}", pre, post, Dense("w"), d, 0, lag) for pre, post, d, lag in ways)
    return Network(tuple(cells), links, {"w": np.full((3, 3), 0.4)}, 5, Readout("rate", "y"))


def test_activity_of_a_loop_comes_whole_and_is_let_go_when_read() -> None:
    network = crossed()
    x = np.ones((4, 5, 3))
    activity = Activity(network, x)
    activity.advance("in")
    assert set(activity) == {"in"}
    activity.advance("a")
    assert set(activity) == {"in", "a", "b"}
    activity.advance("y")
    assert set(activity) == {"a", "b", "y"}  # the input is read no more
    activity.advance("b")
    assert set(activity) >= {"a", "b"}
    want = float_spikes(network, x)
    np.testing.assert_array_equal(activity["b"], want["b"])
    assert calibration_samples(network) == 64
    assert quantized(network, "loihi2", x.astype(np.int64)).network.populations[2].name == "y"


def test_compile_names_who_may_lose_spikes() -> None:
    from snnhw.summary import approximations

    network = looped(np.full((3, 4), 1.0), np.full((3, 3), 2.0), unlimited(threshold=2.0), steps=5)
    for model, said in ((unlimited(threshold=2.0), "; spikes a step limited in n"), (neuron(2.0), "")):
        cells = (network["in"], replace(network["n"], neuron=model))
        result = quantized(replace(network, populations=cells), "loihi2")
        assert approximations(result) == "no threshold rule" + said


@pytest.mark.parametrize("steps", [4, 5])
def test_another_number_of_steps_loses_no_spikes_either(steps: int) -> None:
    """A current without decay grows with T: one step more can bring more spikes than the compiled neuron sends."""
    from snnhw.api import with_input
    from snnhw.artifact import Artifact
    from snnhw.errors import DataError
    from snnhw.mapping.place import place

    network = layer(np.ones((2, 3)), unlimited(u_keep=1.0, keep=0.0), steps=4)
    result, target = quantized(network, "loihi2"), load_target("loihi2")
    assert result.network["n"].model.max_spikes == 12
    mapping = place(result.network, target)
    artifact = Artifact(
        {}, target, result.network, network, deployment(network), result.inputs, mapping, result.rationale
    )
    if steps == 4:
        assert with_input(artifact, None, steps, None).steps == 4
        return
    with pytest.raises(DataError) as caught:
        with_input(artifact, None, steps, None)
    assert str(caught.value) == (
        "more-spikes: in so many steps more spikes can be sent in one step than the network was compiled for\n"
        "  where: n\n  needed: 15 spikes, 5 steps\n  limit: 12 spikes\n  hint: compile it for that number of steps"
    )


def test_a_hard_reset_in_place_of_a_soft_one_names_the_range_of_starts(rng: np.random.Generator) -> None:
    model = neuron(reset=Reset.SUBTRACT, v_init=np.array([0.0, 0.25, 0.5]))
    network = layer(rng.normal(size=(3, 4)), model)
    result = quantize(network, load_target("loihi1"), deployment(network), None, hard_reset=True)
    (row,) = (row for row in result.rationale if row.parameter == "reset")
    assert row.text.endswith("what is above the threshold is lost, and v starts at 0 instead of 0 to 0.5")


def test_a_readout_of_unlimited_spikes_keeps_its_weights_without_calibration(rng: np.random.Generator) -> None:
    """Its range follows from what the population in front is proven to send, not from what a neuron might."""
    base = layer(rng.uniform(0, 1, (5, 12)), unlimited(keep=0.5), steps=3)
    cells = (*base.populations, Population("o", (4,), Kind.ACCUMULATOR, neuron(0.0), 2))
    cells = (cells[0], replace(cells[1], payload=(0, UNLIMITED)), cells[2])
    links = (*base.projections, Projection("n->o", "n", "o", Dense("x")))
    weights = {**base.weights, "x": rng.normal(size=(4, 5))}
    network = replace(base, populations=cells, projections=links, weights=weights, readout=Readout("mean", "o"))
    result = quantized(network, "loihi2")
    assert np.abs(result.network.weights["x"]).max() == 127
    assert result.bounds[-1].proven
