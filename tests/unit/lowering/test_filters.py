"""Synaptic filters (nir.I, nir.LI) in front of neurons and gates become their currents."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower, lower_for
from snnhw.machine import load_target
from snnhw.network import Array
from tests.unit.lowering.runs import TARGETS, made_for
from tests.unit.lowering.timing import (
    DT,
    Edges,
    Nodes,
    alone_equals_stream,
    bits,
    chained,
    exact_on,
    integrator,
    source,
)

STEPS = 6
W = np.array([[2.0, 0, 1], [-1, 2, 1]])


def leaky(keep: float, gain: float = 1.0, size: int = 2) -> nir.LI:
    """u = keep u + gain x."""
    lam = 1 - keep
    return nir.LI(tau=np.full(size, DT / lam), r=np.full(size, gain / lam), v_leak=np.zeros(size))


def summing(gain: float = 1.0, size: int = 2) -> nir.I:
    return nir.I(r=np.full(size, gain / DT))


NEURONS: dict[str, tuple[nir.NIRNode, float | None, float]] = {
    "IF": (integrator(2, 3.0), 1.0, 3.0),
    "LIF": (
        nir.LIF(tau=np.full(2, 2 * DT), r=np.full(2, 2.0), v_leak=np.zeros(2), v_threshold=np.full(2, 3.0)),
        0.5,
        3.0,
    ),
    "Threshold": (nir.Threshold(np.full(2, 1.5)), None, 1.5),
}
FILTERS = {"I": (summing(), 1.0, 1.0), "LI": (leaky(0.5), 0.5, 1.0), "LI with gain": (leaky(0.75, 2.0), 0.75, 2.0)}


def filtered(filter_node: nir.NIRNode, neuron: nir.NIRNode) -> Source:
    nodes: Nodes = {"w": nir.Linear(weight=W), "f": filter_node, "n": neuron}
    return source(nodes, chained("input", "w", "f", "n", "output"), 3, 2, STEPS)


def by_hand(x: Array, keep_u: float, gain: float, keep_v: float | None, threshold: float) -> Array:
    """u = keep_u u + gain W x; v = keep_v v + u (no memory where keep_v is None); spike above, reset to 0."""
    u, v = np.zeros((len(x), 2)), np.zeros((len(x), 2))
    out = np.zeros((*x.shape[:2], 2))
    for t in range(x.shape[1]):
        u = keep_u * u + gain * (x[:, t] @ W.T)
        v = (keep_v or 0.0) * v + u
        out[:, t] = v > threshold
        v = np.where(v > threshold, 0.0, v)
    return out


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_becomes_the_current(name: str, neuron: str) -> None:
    node, keep_u, gain = FILTERS[name]
    cell, keep_v, threshold = NEURONS[neuron]
    made, x = filtered(node, cell), bits(1, 5, STEPS, 3)
    want = by_hand(x, keep_u, gain, keep_v, threshold)
    assert want.any()
    assert lower_for(made, load_target("loihi2"))["n"].model.u_keep == keep_u
    for target in TARGETS:
        integers = made_for(made, target, x)
        assert integers.differences() == []
        alone_equals_stream(integers)
        assert (integers.run_fast()["spikes/n"] != want).mean() < 0.05, "decays are rounded to 1/4096"
    if keep_u == 1.0 and keep_v != 0.5:
        np.testing.assert_array_equal(exact_on(made, x)["n"], want)


@pytest.mark.parametrize("target", TARGETS)
def test_a_gate_behind_a_leaking_current_has_room_below_one_spike(target: str) -> None:
    """u = 1, 1/2, 1/4, ...: as whole numbers of spikes it would be 1, 0, 0."""
    nodes: Nodes = {"f": leaky(0.5, 1.0, 3), "n": nir.Threshold(np.full(3, 0.1))}
    made = source(nodes, chained("input", "f", "n", "output"), 3, 3, STEPS)
    x = np.zeros((1, STEPS, 3))
    x[0, 0] = 1
    found = made_for(made, target, x).run_fast()["spikes/n"]
    assert found[0, :, 0].tolist() == [1, 1, 1, 1, 0, 0]


def extra(nodes: Nodes, edges: Edges, outputs: int = 2, readout: str = "rate") -> Source:
    return source({"w": nir.Linear(weight=W), **nodes}, edges, 3, outputs, STEPS, readout)


PLACE = "filter-place: a node of type {} must feed one neuron or output and be its only input\n  where: {}\n"
PLACE_END = "  limit: IF, LIF, Threshold, Output\n  hint: give every neuron its own filter, in front of all its inputs"
REFUSED: dict[str, tuple[Source, str]] = {
    "two readers": (
        extra(
            {"f": summing(), "n": integrator(2), "m": integrator(2)},
            [*chained("input", "w", "f", "n", "output"), *chained("f", "m", "output")],
            readout="mean",
        ),
        PLACE.format("I", "f -> n") + PLACE_END,
    ),
    "two inputs": (
        extra(
            {"f": leaky(0.5), "n": integrator(2)},
            [*chained("input", "w", "f", "n", "output"), ("w", "n")],
        ),
        PLACE.format("LI", "f -> n") + PLACE_END,
    ),
    "at the output": (
        extra({"f": leaky(0.5)}, chained("input", "w", "f", "output"), readout="mean"),
        "bad-readout: the network ends in membranes, which readout 'mean' does not read\n  where: output\n",
    ),
    "filter behind filter": (
        extra({"f": summing(), "g": leaky(0.5), "n": integrator(2)}, chained("input", "w", "f", "g", "n", "output")),
        PLACE.format("I", "f -> g") + PLACE_END,
    ),
    "linear node behind": (
        extra(
            {"f": summing(), "s": nir.Scale(np.ones(2)), "n": integrator(2)},
            chained("input", "w", "f", "s", "n", "output"),
        ),
        PLACE.format("I", "f -> s") + PLACE_END,
    ),
    "leak": (
        filtered(nir.LI(tau=np.full(2, DT * 2), r=np.ones(2), v_leak=np.full(2, 0.1)), integrator(2)),
        "bad-semantics: a synaptic filter rests at a value other than 0\n  hint: v_leak = 0",
    ),
    "tau": (
        filtered(nir.LI(tau=np.zeros(2), r=np.ones(2), v_leak=np.zeros(2)), integrator(2)),
        "bad-parameter: a time constant is not positive\n  where: f.tau\n  limit: tau > 0",
    ),
    "another shape": (
        filtered(nir.I(r=np.array([1.0, 2.0, 3.0])), integrator(2)),
        "bad-shape: a neuron parameter has another shape than what arrives\n"
        "  where: f.r\n  needed: (2,)\n  limit: got (3,)",
    ),
    "not finite": (
        filtered(nir.I(r=np.array([1.0, np.inf])), integrator(2)),
        "not-finite: 1 values are NaN or infinite\n  where: f.r",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    made, text = REFUSED[name]
    with pytest.raises(SnnhwError) as caught:
        lower(made.graph, made.semantics, made.deployment, 63)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("target", TARGETS)
def test_a_bias_before_a_filter_comes_from_a_neuron_that_always_fires(target: str) -> None:
    """u = u / 2 + W x + b, from zero at every sample's start."""
    nodes: Nodes = {"w": nir.Affine(weight=W, bias=np.array([1.0, 0.5])), "f": leaky(0.5), "n": integrator(2, 4.0)}
    made, x = source(nodes, chained("input", "w", "f", "n", "output"), 3, 2, STEPS), bits(3, 4, STEPS, 3)
    network = lower_for(made, load_target(target))
    assert [p.name for p in network.computed] == ["n.constant", "n"]
    integers = made_for(made, target, x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    found = integers.run_fast()
    assert found["spikes/n.constant"].all()
    u, v, want = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, STEPS, 2))
    for t in range(STEPS):
        u = 0.5 * u + x[:, t] @ W.T + np.array([1.0, 0.5])
        v = v + u
        want[:, t] = v > 4.0
        v = np.where(v > 4.0, 0.0, v)
    assert want.any()
    assert (found["spikes/n"] != want).mean() < 0.05, "decays are rounded to 1/4096"


def test_decays_of_single_neurons() -> None:
    """loihi2 keeps one decay a neuron."""
    nodes: Nodes = {
        "w": nir.Linear(weight=W),
        "f": nir.LI(tau=np.array([2.0, 4.0]) * DT, r=np.array([2.0, 4.0]), v_leak=np.zeros(2)),
        "n": nir.LIF(
            tau=np.array([4.0, 2.0]) * DT, r=np.array([4.0, 2.0]), v_leak=np.zeros(2), v_threshold=np.full(2, 3.0)
        ),
    }
    made, x = source(nodes, chained("input", "w", "f", "n", "output"), 3, 2, STEPS), bits(4, 5, STEPS, 3)
    model = lower_for(made, load_target("loihi2"))["n"].model
    np.testing.assert_array_equal(model.u_keep, [0.5, 0.75])
    np.testing.assert_array_equal(model.v_keep, [0.75, 0.5])
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    by_neuron = [
        by_hand(x, keep_u, 1.0, keep_v, 3.0)[..., i] for i, (keep_u, keep_v) in enumerate([(0.5, 0.75), (0.75, 0.5)])
    ]
    assert (integers.run_fast()["spikes/n"] != np.stack(by_neuron, -1)).mean() < 0.05
