"""The quantiser's promises on random networks: exact where exactness is possible, inside its bounds, legal weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnhw import fixed
from snnhw.engines.base import Needs
from snnhw.engines.reference import ReferenceEngine
from snnhw.machine import load_target
from snnhw.network import Array, Comparison, Dense, IntNeuron, Kind, Network, Population, Projection, Readout, Reset
from snnhw.network import ResetTiming as Timing
from snnhw.quantize.bounds import Bound, arriving_range, bound
from snnhw.quantize.formats import formats_of
from tests.generate import OVERFLOWING, PROGRAMMABLE, machine, random_case
from tests.unit.quantize.nets import float_spikes, layer, neuron, quantized, spikes

SEED = st.integers(0, 1 << 30)
TARGETS = ("loihi1", "loihi2")


@given(SEED, st.sampled_from(TARGETS), st.sampled_from(list(Comparison)), st.sampled_from([0.0, 1.0]))
@settings(max_examples=60)
def test_exact_weights_give_the_float_spikes(seed: int, target: str, comparison: Comparison, keep: float) -> None:
    """Integer weights, thresholds and biases: every tie v == threshold falls as trained, on both targets."""
    rng = np.random.default_rng(seed)
    w = rng.integers(-7, 8, (5, 6)).astype(float)
    w[:, 0] = 127.0  # the largest weight a format holds: the scale of every channel is a whole number
    threshold, bias = float(rng.integers(1, 9)), rng.integers(-2, 3, 5).astype(float)
    model = neuron(threshold, bias, keep, comparison=comparison)
    network = layer(w, model, steps=8)
    x = rng.integers(0, 2, (4, 8, 6))
    x[:, :, 0] &= rng.random((4, 8)) < 0.1
    want = float_spikes(network, x)["n"]
    np.testing.assert_array_equal(spikes(quantized(network, target), x)["spikes/n"], want)


def test_ties_do_occur_in_that_property() -> None:
    """With `>` for `>=` the same networks give other spikes: the property above would see the mutant."""
    rng = np.random.default_rng(0)
    w = np.array([[127.0, 1, 2, 3]])
    network = layer(w, neuron(3.0), steps=8)
    x = rng.integers(0, 2, (20, 8, 4)) * np.array([0, 1, 1, 1])
    for target in TARGETS:
        right = quantized(network, target)
        cells = tuple(
            p
            if p.neuron is None
            else replace(p, neuron=replace(p.neuron, comparison=Comparison.GT, vth=p.neuron.vth + add))
            for add in [64 if target == "loihi1" else 0]
            for p in right.network.populations
        )
        wrong = replace(right, network=replace(right.network, populations=cells))
        assert (spikes(right, x)["spikes/n"] != spikes(wrong, x)["spikes/n"]).any()


@given(SEED, st.integers(2, 8), st.booleans())
@settings(max_examples=40)
def test_every_weight_of_loihi1_is_legal(seed: int, bits: int, calibrated: bool) -> None:
    """Even, within Lava's mixed range, and multiples of the larger step that fewer bits leave."""
    rng = np.random.default_rng(seed)
    network = layer(rng.normal(size=(4, 9)) * rng.choice([1e-3, 1, 50], (4, 1)), neuron(), steps=3)
    x = rng.integers(0, 2, (8, 3, 9)) if calibrated else None
    w = quantized(network, "loihi1", x, bits).network.weights["w"]
    assert (w % (2 << (8 - bits)) == 0).all()
    assert w.min() >= -256
    assert w.max() <= 254


@given(SEED, st.sampled_from(TARGETS))
@settings(max_examples=30)
def test_every_parameter_is_legal_and_explained(seed: int, target: str) -> None:
    rng = np.random.default_rng(seed)
    chip = load_target(target)
    formats = formats_of(chip, None)
    bias = rng.normal(size=4) * 10.0 ** rng.integers(-3, 2)
    comparison = Comparison(rng.choice(["ge", "gt"]))
    model = neuron(rng.uniform(0.5, 2), bias, float(rng.choice([0.0, 0.5, 0.97, 1.0])), comparison=comparison)
    result = quantized(layer(rng.normal(size=(4, 9)), model), target)
    made = result.network["n"].model
    if target == "loihi1":
        assert made.comparison is Comparison.GT
        assert np.ndim(made.vth) == 0
        assert (made.vth % 64 == 0).all()
        assert 0 <= made.vth.min() <= made.vth.max() <= 131071 << 6
        assert any(
            ((made.bias >> e) << e == made.bias).all() and (np.abs(made.bias >> e) < 4096).all() for e in range(8)
        )
    assert np.abs(result.network.weights["w"]).max() <= formats.high
    explained = {row.parameter for row in result.rationale if row.population == "n"}
    assert explained >= {"du", "dv", "scale", "act_shift", "bias", "vth", "weights w"}
    assert all(row.text for row in result.rationale)


class Extremes:
    """u and v as they are before they overflow, of every step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, list[int]] = {"u": [], "v": []}
        for state, rule in (("u", "current"), ("v", "membrane")):
            patch.setattr(fixed, rule, self._watched(state, getattr(fixed, rule)))

    def _watched(self, name: str, rule: Any) -> Any:
        def watched(*args: Any) -> Any:
            x = rule(*args)
            self.seen[name] += [int(np.min(x)), int(np.max(x))]
            return x

        return watched


def bounds_of(network: Network[IntNeuron]) -> dict[str, Bound]:
    ranges = {p.name: arriving_range(network, p) for p in network.computed}
    return {
        p.name: bound(p.name, p.kind, p.model, *ranges[p.name], network.steps, fixed.LOIHI) for p in network.computed
    }


@pytest.mark.parametrize("profile", [PROGRAMMABLE, "lava-lif"])
def test_nothing_leaves_its_bounds(profile: str) -> None:
    """Generated networks: recorded states stay inside, and proven means that nothing wraps or saturates."""

    class Inside:
        def __init__(self, bounds: dict[str, Bound]) -> None:
            self.bounds, self.proven = bounds, 0
            self.needs = Needs(state={name: frozenset({"u"}) for name in bounds})

        def observe(self, first_sample: int, population: str, record: Any) -> None:
            found = self.bounds.get(population)
            if found is None or not found.proven:
                return
            self.proven += 1
            assert record.overflows == {"u": 0, "v": 0}
            assert found.u_low <= record.state["u"].min() <= record.state["u"].max() <= found.u_high

    proven = 0
    for seed in range(40):
        case = random_case(seed, profile, samples=2, steps=4)
        if case.flavour in OVERFLOWING:
            continue
        watch = Inside(bounds_of(case.network))
        ReferenceEngine().run(case.network, machine(profile), [case.stream], [watch])
        proven += watch.proven
    assert proven > 40


def single(rng: np.random.Generator, reset: Reset, timing: Timing, most: int) -> tuple[Network[IntNeuron], Array]:
    """One neuron whose bounds are tight enough to be reached, and inputs at the ends of their range."""
    steps = 6
    model = IntNeuron(
        dv=int(rng.choice([0, 1, 900, 4095, 4096])),
        vth=np.array(int(rng.integers(1, 60))),
        bias=np.array(int(rng.integers(-30, 30))),
        du=int(rng.choice([4096, 4096, 1000, 0])),
        act_shift=int(rng.choice([0, 3])),
        comparison=Comparison(rng.choice(["ge", "gt"])),
        reset=reset,
        reset_timing=timing,
        v_reset=int(rng.integers(-70, 70)),
        v_min=int(rng.integers(-20, 10)) if rng.random() < 0.4 else None,
        v_init=int(rng.integers(-9, 9)),
        max_spikes=most,
    )
    low, high = -int(rng.integers(0, 4)), int(rng.integers(1, 5))
    cells = (
        Population("in", (2,), Kind.INPUT, payload=(low, high)),
        Population("n", (1,), Kind.NEURON, model, 1, (0, most)),
    )
    links = (Projection("p", "in", "n", Dense("w"), 1, int(rng.integers(-1, 2))),)
    network = Network(cells, links, {"w": rng.integers(-9, 10, (1, 2))}, steps, Readout("rate", "n"))
    ends = rng.choice([low, high], (12, steps, 2))
    inner = rng.integers(low, high + 1, (4, steps, 2))
    return network, np.concatenate([ends, inner])


RULES = [(reset, Timing.SAME_STEP) for reset in Reset] + [(Reset.SUBTRACT, Timing.NEXT_STEP)]


@pytest.mark.parametrize(("reset", "timing"), RULES)
@pytest.mark.parametrize("most", [1, 3])
def test_bounds_hold_before_the_limiters(
    reset: Reset, timing: Timing, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, touched = Extremes(monkeypatch), 0
    for seed in range(60):
        rng = np.random.default_rng([seed, most])
        network, x = single(rng, reset, timing, most)
        limit = bounds_of(network)["n"]
        for seen in watch.seen.values():
            seen.clear()
        alone = [{"in": x[i : i + 1]} for i in range(len(x))]
        for chunk in alone:  # the fill and drain of a stream are not part of a sample
            ReferenceEngine().run(network, machine(PROGRAMMABLE), [chunk], [])
        u, v = watch.seen["u"], watch.seen["v"]
        assert limit.u_low <= min(u) <= max(u) <= limit.u_high
        assert limit.v_low <= min(v) <= max(v) <= limit.v_high
        touched += limit.v_high == max(v)
    assert touched > 5, "the bounds are not merely large"
