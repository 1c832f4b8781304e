"""Interval bounds with feedback and with parameters of every neuron's own: nothing leaves them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines.reference import ReferenceEngine
from snnhw.fixed import LOIHI
from snnhw.network import Array, Comparison, Dense, IntNeuron, Kind, Network, Population, Projection, Readout, Reset
from snnhw.network import ResetTiming as Timing
from snnhw.quantize import bounds
from snnhw.quantize.bounds import bound
from tests.generate import PROGRAMMABLE, machine
from tests.property.test_engines_properties import Everything
from tests.property.test_quantize_properties import RULES, Extremes, bounds_of

NEURONS = 3


def looped(rng: np.random.Generator, reset: Reset, timing: Timing, most: int) -> tuple[Network[IntNeuron], Array]:
    """A few different neurons that hear each other, and inputs at the ends of their range."""
    steps = 6
    model = IntNeuron(
        dv=rng.choice([0, 1, 900, 4095, 4096], NEURONS),
        vth=rng.integers(1, 60, NEURONS),
        bias=rng.integers(-30, 30, NEURONS),
        du=rng.choice([4096, 4096, 1000, 0], NEURONS),
        act_shift=int(rng.choice([0, 3])),
        comparison=Comparison(rng.choice(["ge", "gt"])),
        reset=reset,
        reset_timing=timing,
        v_reset=rng.integers(-70, 70, NEURONS),
        v_min=rng.integers(-20, 10, NEURONS) if rng.random() < 0.4 else None,
        v_init=rng.integers(-9, 9, NEURONS),
        max_spikes=most,
    )
    low, high = -int(rng.integers(0, 4)), int(rng.integers(1, 5))
    cells = (
        Population("in", (2,), Kind.INPUT, payload=(low, high)),
        Population("n", (NEURONS,), Kind.NEURON, model, 1, (0, most)),
    )
    links = (
        Projection("p", "in", "n", Dense("w"), 1, int(rng.integers(-1, 2))),
        Projection("r", "n", "n", Dense("r"), 1, 0, 1),
    )
    weights = {"w": rng.integers(-9, 10, (NEURONS, 2)), "r": rng.integers(-4, 5, (NEURONS, NEURONS))}
    return Network(cells, links, weights, steps, Readout("rate", "n")), rng.choice([low, high], (16, steps, 2))


@pytest.mark.parametrize(("reset", "timing"), RULES)
@pytest.mark.parametrize("most", [1, 3, 1 << 20])
def test_bounds_hold_in_loops_of_different_neurons(
    reset: Reset, timing: Timing, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Extremes(monkeypatch)
    for seed in range(40):
        network, x = looped(np.random.default_rng([seed, most]), reset, timing, most)
        limit = bounds_of(network)["n"]
        for seen in watch.seen.values():
            seen.clear()
        kept = Everything(network)
        for i in range(len(x)):  # alone: the fill and drain of a stream are not part of a sample
            ReferenceEngine().run(network, machine(PROGRAMMABLE), [{"in": x[i : i + 1]}], [kept])
        u, v = watch.seen["u"], watch.seen["v"]
        assert limit.u_low <= min(u) <= max(u) <= limit.u_high
        assert limit.v_low <= min(v) <= max(v) <= limit.v_high
        spikes = int(kept.arrays()["n", "spikes"].max())
        assert spikes <= min(limit.spikes, most) or spikes <= 1  # one spike needs no whole threshold where vth is 0
        assert not (limit.silent and spikes)


@pytest.mark.parametrize("reset", list(Reset))
def test_the_bound_of_spikes_is_reached(reset: Reset) -> None:
    """Without feedback it is no mere guess: inputs at the ends of their range make neurons fire so often."""
    reached = 0
    for seed in range(60):
        network, x = looped(np.random.default_rng(seed), reset, Timing.SAME_STEP, 1 << 20)
        network = replace(network, projections=network.projections[:1])
        kept = Everything(network)
        ReferenceEngine().run(network, machine(PROGRAMMABLE), [{"in": x}], [kept])
        reached += int(kept.arrays()["n", "spikes"].max()) == bounds_of(network)["n"].spikes > 1
    assert reached > 10


@pytest.mark.parametrize("name", ["dv", "du", "v_init", "v_reset", "v_min", "vth", "bias"])
def test_pixels_that_differ_in_anything_are_bounded_apart(
    name: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives is the same at every pixel; the neurons are not, in one parameter, however it broadcasts."""
    high = np.full((2, 3, 4), 40)
    plain = IntNeuron(900, np.array(60), np.array(3), 1000, 0, reset=Reset.V_RESET, v_reset=-5, v_min=-50)
    each = {
        "dv": rng.integers(0, 4097, (2, 3, 4)),
        "du": rng.integers(0, 4097, (4,)),
        "v_init": rng.integers(-90, 90, (3, 1)),
        "v_reset": rng.integers(-90, 90, (1, 3, 4)),
        "v_min": rng.integers(-90, 0, (2, 3, 1)),
        "vth": rng.integers(20, 90, (3, 4)),
        "bias": rng.integers(-90, 90, (2, 1, 4)),
    }
    neuron = replace(plain, **{name: each[name]})  # type: ignore[arg-type]
    short = bound("n", Kind.NEURON, neuron, -high, high, 5, widths=LOIHI)
    monkeypatch.setattr(bounds, "_distinct", lambda _neuron, low, high: (low, high))
    assert short == bound("n", Kind.NEURON, neuron, -high, high, 5, widths=LOIHI)


def test_a_current_that_may_wrap_bounds_spikes_by_the_format() -> None:
    """Wrapped, it can come back as the largest membrane there is."""
    neuron = IntNeuron(4096, np.array(1000), np.array(0), act_shift=6, max_spikes=1 << 22, du=4096)
    wide = np.full(1, 1 << 20)
    assert bound("n", Kind.NEURON, neuron, -wide, wide, 2, widths=LOIHI).spikes == ((1 << 23) - 1) // 1000
    assert bound("n", Kind.NEURON, neuron, 0 * wide, wide // 1024, 2, widths=LOIHI).spikes == (1 << 16) // 1000
