"""Loops: the way back carries the spikes of the step before, biases on it act at every step, samples stay apart."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError
from snnhw.evaluate import evaluate
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.machine import load_target
from snnhw.network import Array, Kind
from tests.unit.lowering.runs import TARGETS, made_for
from tests.unit.lowering.timing import (
    DT,
    Edges,
    Nodes,
    alone_equals_stream,
    bits,
    chained,
    delay,
    integrator,
    source,
)

STEPS = 6
W = np.array([[2.0, 0, 1], [-1, 2, 1]])
BACK = np.array([[0.0, 2.0], [-2.0, 1.0]])


def recurrent(back: nir.NIRNode, neuron: nir.NIRNode | None = None) -> Source:
    """input -> w -> n -> output, n -> back -> n: snnTorch's RLeaky."""
    nodes: Nodes = {"w": nir.Linear(weight=W), "n": neuron or integrator(2, 3.0), "back": back}
    return source(nodes, [*chained("input", "w", "n", "output"), ("n", "back"), ("back", "n")], 3, 2, STEPS)


def by_hand(x: Array, bias: Array, late: int = 1) -> Array:
    """v = v + W x + BACK s[t - late] + bias, spike above 3, reset to zero."""
    v, out = np.zeros((len(x), 2)), np.zeros((len(x), x.shape[1], 2))
    for t in range(x.shape[1]):
        before = out[:, t - late] if t >= late else np.zeros((len(x), 2))
        v = v + x[:, t] @ W.T + before @ BACK.T + bias
        out[:, t] = v > 3.0
        v = np.where(v > 3.0, 0.0, v)
    return out


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bias", [np.zeros(2), np.array([1.0, 1.0])], ids=["no bias", "bias"])
def test_a_loop_through_a_matrix(bias: Array, target: str) -> None:
    """All numbers are whole: integers and reals fire alike."""
    back = nir.Affine(weight=BACK, bias=bias) if bias.any() else nir.Linear(weight=BACK)
    made, x = recurrent(back), bits(1, 5, STEPS, 3)
    want = by_hand(x, bias)
    assert want.any()
    assert (want != by_hand(x, bias, STEPS)).any()
    network = lower_for(made, load_target(target))
    (loop,) = (q for q in network.projections if q.pre == q.post)
    assert (loop.lag, loop.delay) == (1, 1)
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["n"], want)
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, target, x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    np.testing.assert_array_equal(integers.run_fast()["spikes/n"], want)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_delay_on_the_way_back_is_all_the_delay_there_is(steps: int) -> None:
    nodes: Nodes = {
        "w": nir.Linear(weight=W),
        "n": integrator(2, 3.0),
        "back": nir.Linear(weight=BACK),
        "late": delay(steps, 2),
    }
    edges: Edges = [*chained("input", "w", "n", "output"), *chained("n", "back", "late", "n")]
    made, x = source(nodes, edges, 3, 2, STEPS), bits(2, 5, STEPS, 3)
    network = lower_for(made, load_target("loihi2"))
    want = by_hand(x, np.zeros(2), steps)
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["n"], want)
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    np.testing.assert_array_equal(integers.run_fast()["spikes/n"], want)


def two_hops(lag: int = 0) -> Source:
    """n -> m -> n: two hops on the chip."""
    nodes: Nodes = {
        "w": nir.Linear(weight=W),
        "n": integrator(2, 3.0),
        "there": nir.Linear(weight=np.eye(2) * 4.0),
        "m": integrator(2, 3.0),
        "back": nir.Affine(weight=BACK, bias=np.array([1.0, 0.0])),
    }
    way = ("m", "back", "late", "n") if lag else ("m", "back", "n")
    nodes |= {"late": delay(lag, 2)} if lag else {}
    return source(nodes, [*chained("input", "w", "n", "there", "m", "output"), *chained(*way)], 3, 2, STEPS)


def test_a_loop_of_two_neurons_runs_in_float_and_is_refused_for_a_chip() -> None:
    made, x = two_hops(), bits(3, 5, STEPS, 3)
    network = lower(made.graph, made.semantics, made.deployment)
    v = m = np.zeros((5, 2))
    fed, want = np.zeros((5, 2)), np.zeros((5, STEPS, 2))
    for t in range(STEPS):
        v = v + x[:, t] @ W.T + fed @ BACK.T + np.array([1.0, 0.0])
        s = (v > 3).astype(float)
        v = np.where(v > 3, 0.0, v)
        m = m + 4.0 * s
        fed = want[:, t] = m > 3
        m = np.where(m > 3, 0.0, m)
    assert want.any()
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["m"], want)
    assert check_lowering(made, network, x).different == 0
    with pytest.raises(SnnhwError) as caught:
        lower_for(made, load_target("loihi2"))
    assert str(caught.value) == (
        "feedback-too-fast: a loop has more hops than its delays have steps: on the chip every hop costs one step\n"
        "  where: m->n via back after 1\n"
        "  needed: 2 steps from n round to itself\n"
        "  limit: 1 step of delay\n"
        "  hint: feed back to the same population, or train with a longer delay on the way back (NIR Delay)"
    )


def test_a_loop_of_two_neurons_with_two_steps_of_delay() -> None:
    made, x = two_hops(2), bits(3, 5, STEPS, 3)
    network = lower_for(made, load_target("loihi2"))
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    floats = dict(evaluate(network, {"input": x}))
    assert floats["m"].any()
    np.testing.assert_array_equal(integers.run_fast()["spikes/m"], floats["m"])


def test_loops_inside_a_loop() -> None:
    """n -> m -> back -> n around n -> own -> n: both go back by one step."""
    made = two_hops()
    nodes = {**made.graph.nodes, "own": nir.Linear(weight=np.eye(2))}
    graph = nir.NIRGraph(nodes, [*made.graph.edges, ("n", "own"), ("own", "n")], type_check=False)
    network = lower(graph, made.semantics, made.deployment)
    assert {(q.pre, q.post): q.lag for q in network.projections} == {
        ("input", "n"): 0,
        ("n", "n"): 1,
        ("n", "m"): 0,
        ("m", "n"): 1,
    }


def test_a_cuba_neuron_with_a_loop_and_a_bias() -> None:
    """The bias of the way back goes through the current from the first step on."""
    neuron = nir.CubaLIF(
        tau_syn=np.full(2, 2 * DT), tau_mem=np.full(2, 4 * DT), r=np.full(2, 4.0), v_leak=np.zeros(2),
        v_threshold=np.full(2, 3.0), w_in=np.full(2, 2.0),
    )  # fmt: skip
    made = recurrent(nir.Affine(weight=BACK, bias=np.array([1.0, 0.5])), neuron)
    x = bits(4, 5, STEPS, 3)
    i = v = fed = np.zeros((5, 2))
    want = np.zeros((5, STEPS, 2))
    for t in range(STEPS):
        i = 0.5 * i + x[:, t] @ W.T + fed @ BACK.T + np.array([1.0, 0.5])
        v = 0.75 * v + i
        fed = want[:, t] = v > 3
        v = np.where(v > 3, 0.0, v)
    network = lower_for(made, load_target("loihi2"))
    assert {p.name: p.kind for p in network.computed} == {"n.constant": Kind.GATE, "n": Kind.NEURON}
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["n"], want)
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    assert (integers.run_fast()["spikes/n"] != want).mean() < 0.05


REFUSED: dict[str, tuple[Nodes, Edges, str]] = {
    "two entries": (
        {"a": integrator(3), "b": integrator(3)},
        [*chained("input", "a", "b", "output"), ("input", "b"), ("b", "a")],
        "ambiguous-loop: a loop is entered at 2 nodes: which edge feeds back is not said\n"
        "  where: a, b\n  limit: one node with edges from outside the loop\n"
        "  hint: put a Delay node of one step on the edge that feeds back",
    ),
    "no neuron": (
        {"a": nir.Scale(np.ones(3)), "b": nir.Linear(weight=np.eye(3)), "n": integrator(3)},
        [*chained("input", "a", "b", "n", "output"), ("b", "a")],
        "loop-without-neuron: a loop of nodes without a neuron in it has no defined value\n"
        "  where: a -> b\n  limit: at least one of IF, LIF, CubaLIF, Threshold in every loop\n"
        "  hint: remove the feedback edge",
    ),
    "itself": (
        {"a": nir.Scale(np.ones(3)), "n": integrator(3)},
        [*chained("input", "a", "n", "output"), ("a", "a")],
        "loop-without-neuron: a loop of nodes without a neuron in it has no defined value\n  where: a\n",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_loops_without_a_meaning(name: str) -> None:
    nodes, edges, text = REFUSED[name]
    made = source(nodes, edges, 3, 3, STEPS)
    with pytest.raises(SnnhwError) as caught:
        lower(made.graph, made.semantics, made.deployment, 63)
    assert str(caught.value).startswith(text)


def test_a_delay_says_which_of_two_ways_feeds_back() -> None:
    nodes: Nodes = {"a": integrator(3), "b": integrator(3), "late": delay(1)}
    edges: Edges = [*chained("input", "a", "b", "output"), ("input", "b"), *chained("b", "late", "a")]
    made = source(nodes, edges, 3, 3, STEPS)
    network = lower(made.graph, made.semantics, made.deployment)
    assert {(q.pre, q.post): q.lag for q in network.projections}[("b", "a")] == 1
    assert check_lowering(made, network, bits(5, 4, STEPS, 3)).different == 0


def test_biases_and_delays_on_ways_that_meet_at_a_matrix() -> None:
    """The loop is entered at a matrix; its way back has a bias, and a second way back comes late."""
    nodes: Nodes = {
        "mix": nir.Linear(weight=np.array([[2.0, 0], [-1, 2]])),
        "n": integrator(2, 3.0),
        "back": nir.Affine(weight=BACK, bias=np.array([1.0, 0.5])),
        "far": nir.Affine(weight=np.eye(2), bias=np.array([0.5, 1.0])),
        "late": delay(2, 2),
    }
    edges: Edges = [
        *chained("input", "mix", "n", "output"),
        *chained("n", "back", "mix"),
        *chained("n", "far", "late", "mix"),
    ]
    made, x = source(nodes, edges, 2, 2, STEPS), bits(6, 5, STEPS, 2)
    mix = nodes["mix"].weight  # type: ignore[attr-defined]
    v, s, far, want = np.zeros((5, 2)), np.zeros((5, 2)), [], np.zeros((5, STEPS, 2))
    for t in range(STEPS):
        back = s @ BACK.T + np.array([1.0, 0.5])
        v = v + (x[:, t] + back + (far[t - 2] if t >= 2 else 0.0)) @ mix.T
        s = want[:, t] = (v > 3).astype(float)
        v = np.where(v > 3, 0.0, v)
        far.append(s + np.array([0.5, 1.0]))
    network = lower(made.graph, made.semantics, made.deployment)
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["n"], want)
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    assert (integers.run_fast()["spikes/n"] != want).mean() < 0.05


def test_a_constant_that_comes_late_and_goes_back() -> None:
    """n -> m -> n, and n -> far (bias) -> Delay(2) -> m: through the way back the constant is three steps late."""
    nodes: Nodes = {
        "w": nir.Linear(weight=W),
        "n": integrator(2, 3.0),
        "m": nir.Linear(weight=BACK),
        "far": nir.Affine(weight=np.eye(2), bias=np.array([0.5, 1.0])),
        "late": delay(2, 2),
    }
    edges: Edges = [*chained("input", "w", "n", "output"), *chained("n", "m", "n"), *chained("n", "far", "late", "m")]
    made, x = source(nodes, edges, 3, 2, STEPS), bits(7, 5, STEPS, 3)
    network = lower(made.graph, made.semantics, made.deployment)
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
