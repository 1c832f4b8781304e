"""Synaptic delays: spikes arrive whole sample steps late, and never in the next sample."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.check import require_equal
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.machine import load_target
from snnhw.network import Array
from snnhw.quantize.quantize import quantize
from tests.unit.lowering.runs import TARGETS, Integers, made_for
from tests.unit.lowering.timing import (
    DT,
    Edges,
    Nodes,
    alone_equals_stream,
    bits,
    chained,
    delay,
    exact_on,
    integrator,
    source,
)

STEPS = 4


def relay(lag: float) -> Source:
    """One spike in, one spike out, so many steps later."""
    nodes: Nodes = {"late": delay(lag), "double": nir.Scale(np.full(3, 2.0)), "n": integrator(3)}
    return source(nodes, chained("input", "late", "double", "n", "output"), 3, 3, STEPS)


def late(x: Array, lag: int) -> Array:
    """What a shift register would give, sample by sample."""
    out = np.zeros_like(x)
    for t in range(lag, x.shape[1]):
        out[:, t] = x[:, t - lag]
    return out


@pytest.mark.parametrize("lag", range(STEPS + 3))
def test_spikes_arrive_late_or_never(lag: int) -> None:
    x = bits(lag, 4, STEPS, 3)
    found = exact_on(relay(lag), x)["n"]
    np.testing.assert_array_equal(found, late(x, lag))
    assert found.any() == (lag < STEPS)


@pytest.mark.parametrize("lags", [(0, 1), (1, 0), (2, 1), (3, 3), (5, 0)])
def test_delays_on_branch_and_skip(lags: tuple[int, int]) -> None:
    """n2 reads n1 through another neuron (one hop more) and by a skip; both delayed, over shared weights."""
    edges: Edges = [
        *chained("input", "w1", "n1", "d1", "w2", "n2", "w3", "n3", "output"),
        *chained("n1", "w", "m", "d2", "w2"),
        ("n1", "skip"),
        *chained("skip", "dskip", "n3"),
    ]
    matrix = {
        "w1": [[2, 0, 2], [0, 2, 0]],
        "w": [[2, 0], [2, 2]],
        "w2": [[1, 1], [2, -1]],
        "w3": [[2, 1], [-1, 2]],
        "skip": [[0, 1], [1, 0]],
    }
    nodes: Nodes = {name: nir.Linear(weight=np.array(w, float)) for name, w in matrix.items()}
    nodes |= {name: integrator(2) for name in ("n1", "m", "n2", "n3")}
    nodes |= {"d1": delay(lags[0]), "d2": delay(lags[1]), "dskip": delay(lags[1])}
    made = source(nodes, edges, 3, 2, STEPS + 2)
    found = exact_on(made, bits(3, 3, STEPS + 2, 3, rate=0.6))
    assert found["n2"].any()
    assert found["n3"].any()
    network = lower_for(made, load_target("loihi2"))
    projection = {q.pre: q for q in network.into("n2")}
    assert (projection["n1"].lag, projection["m"].lag) == lags
    assert (projection["n1"].delay, projection["m"].delay) == (2 + lags[0], 1 + lags[1])
    assert projection["n1"].op == projection["m"].op, "one weight array"


def test_delays_in_a_row_add_up_and_parallel_ones_stay_apart() -> None:
    edges: Edges = [
        *chained("input", "a", "b", "double", "n", "output"),
        *chained("input", "c", "double"),
        ("input", "double"),
    ]
    nodes: Nodes = {"a": delay(1), "b": delay(2), "c": delay(1), "double": nir.Scale(np.full(3, 2.0))}
    made = source({**nodes, "n": integrator(3, 3.0)}, edges, 3, 3, STEPS)
    x = bits(1, 3, STEPS, 3, rate=0.6)
    network = lower_for(made, load_target("loihi1"))
    assert sorted(q.lag for q in network.into("n")) == [0, 1, 3]
    assert len({q.name for q in network.projections}) == 3
    found = exact_on(made, x)["n"]
    total, v = 2 * (x + late(x, 1) + late(x, 3)), np.zeros((3, 3))
    for t in range(STEPS):
        v = v + total[:, t]
        np.testing.assert_array_equal(found[:, t], v > 3)
        v = np.where(v > 3, 0, v)


def test_a_delayed_output_and_a_delayed_analog_input() -> None:
    """Accumulators and host-computed layers (loihi1) are late, too."""
    nodes: Nodes = {"d": delay(1), "w": nir.Linear(weight=np.array([[1.5, -1.0, 0.5]]))}
    made = source(nodes, chained("input", "d", "w", "output"), 3, 1, STEPS, "mean")
    x = np.random.default_rng(0).random((3, STEPS, 3))
    want = late(x, 1) @ np.array([[1.5], [-1.0], [0.5]])
    for target in ("loihi1", "loihi2"):
        integers = made_for(made, target, x)
        assert integers.differences() == []
        found = integers.run_fast()
        np.testing.assert_allclose(integers.real_output(found), want, atol=0.05)


REFUSED: list[tuple[str, nir.Delay, str]] = [
    (
        "half a step",
        delay(1.5),
        "bad-delay: a delay is not one whole number of steps\n"
        "  where: late\n"
        "  needed: 1.5 to 1.5 steps\n"
        "  limit: one multiple of dt = 0.0001 s, 0 or more, for all neurons\n"
        "  hint: one Delay node per delay, rounded to steps",
    ),
    (
        "negative",
        delay(-1),
        "bad-delay: a delay is not one whole number of steps\n  where: late\n  needed: -1 to -1 steps",
    ),
    (
        "different ones",
        nir.Delay(np.array([0, 1, 2]) * DT),
        "bad-delay: a delay is not one whole number of steps\n  where: late\n  needed: 0 to 2 steps",
    ),
    (
        "none",
        nir.Delay(np.zeros(0)),
        "bad-delay: a delay is not one whole number of steps\n  where: late\n  needed: nothing",
    ),
    ("not a number", delay(np.nan), "not-finite: 1 values are NaN or infinite\n  where: late.delay"),
]


@pytest.mark.parametrize(("node", "text"), [pytest.param(n, t, id=i) for i, n, t in REFUSED])
def test_refused(node: nir.Delay, text: str) -> None:
    made = relay(1)
    made.graph.nodes["late"] = node
    with pytest.raises(SourceError) as caught:
        lower(made.graph, made.semantics, made.deployment, 63)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("target", TARGETS)
def test_a_bias_before_a_delay_comes_as_late(target: str) -> None:
    nodes: Nodes = {"w": nir.Affine(weight=np.eye(3), bias=np.full(3, 2.0)), "late": delay(2), "n": integrator(3, 3.0)}
    made = source(nodes, chained("input", "w", "late", "n", "output"), 3, 3, STEPS)
    silent = np.zeros((2, STEPS, 3))
    integers = made_for(made, target, silent)
    assert integers.differences() == []
    alone_equals_stream(integers)
    assert integers.run_fast()["spikes/n"][0, :, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(("target", "most"), [("loihi1", 61), ("loihi2", 62)])
def test_a_delay_of_the_input_longer_than_the_targets(target: str, most: int) -> None:
    lower_for(relay(most), load_target(target))
    with pytest.raises(SnnhwError) as caught:
        lower_for(relay(most + 1), load_target(target))
    assert str(caught.value) == (
        "delay-range: a synaptic delay of the input is longer than the target allows\n"
        "  where: input->n via double after "
        f"{most + 1}\n"
        f"  needed: {most + 2} steps ({most + 1} of them synaptic)\n"
        f"  limit: {most + 1} steps\n"
        "  hint: delay the spikes of a neuron (relays hold them), or choose a target with longer delays"
    )


@pytest.mark.parametrize("lags", [(6, 6), (3, 11), (14, 0)])
@pytest.mark.parametrize("loop", [0, 9])
def test_longer_delays_than_the_targets_go_over_relays(lags: tuple[int, int], loop: int) -> None:
    """Of 3 steps at most: two ways from n1 to n2, one through another neuron, and a loop."""
    steps = 20
    nodes: Nodes = {
        "n1": integrator(3, 0.5),
        "d1": delay(lags[0]),
        "m": integrator(3, 0.5),
        "d2": delay(lags[1]),
        "n2": integrator(3, 0.5),
        "back": delay(loop),
    }
    edges: Edges = [*chained("input", "n1", "d1", "m", "n2", "output"), *chained("n1", "d2", "n2")]
    edges += chained("n2", "back", "n1") if loop else []
    if not loop:
        del nodes["back"]
    made = source(nodes, edges, 3, 3, steps)
    x = bits(5, 3, steps, 3) * (np.arange(steps)[:, None] % 3 == 0)
    want = run(made.graph, made.semantics, x)
    assert want["n2"].any()
    for target in TARGETS:
        network = lower(made.graph, made.semantics, made.deployment, 3)
        require_equal(check_lowering(made, network, x))
        integers = Integers(quantize(network, load_target(target), made.deployment, x), x, target)
        assert max(q.delay for q in integers.made.network.projections) == 3
        assert integers.differences() == []
        alone_equals_stream(integers)
        np.testing.assert_array_equal(integers.run_fast()["spikes/n2"], want["n2"])
