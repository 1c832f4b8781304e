"""Global pools as graded relays: the same numbers, fewer synapses, only where the target can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnhw.frontends.check import require_equal
from snnhw.frontends.checkpoint import import_module
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.lowering.sums import Sums
from snnhw.machine import load_target
from snnhw.network import Conv, Dense, Kind, Reset
from snnhw.rationale import Effect, Reason
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.frontends.modules import Flow, conv
from tests.unit.lowering.runs import made_for, of_spikes
from tests.unit.lowering.timing import Nodes, chained, source

SHAPE = (2, 5, 6)
X = (np.random.default_rng(0).random((3, 4, *SHAPE)) < 0.5).astype(float)


def network(pool: nn.Module | None = None, outputs: int = 4, summed: bool = False, consumers: int = 2) -> nn.Module:
    """Neurons, one pool, linear layers behind it; the last adds up what two spiking layers and the pool give."""
    layers: dict[str, nn.Module] = {
        "c": conv(2, 3),
        "n": IF(v_threshold=0.2),
        "c2": conv(3, 3),
        "n2": IF(v_threshold=0.2),
    }
    layers |= {"pool": PerStep(pool or nn.AdaptiveAvgPool2d(1)), "flat": PerStep(nn.Flatten())}
    for i in range(consumers):
        layers |= {f"f{i}": PerStep(nn.Linear(3, outputs)), f"s{i}": IF(v_threshold=0.1)}
    layers["out"] = PerStep(nn.Linear(outputs, 3))

    def flow(m: Any, x: Any) -> Any:
        first = m.n(m.c(x))
        total = m.n2(m.c2(first)) + first if summed else first
        pooled = m.flat(m.pool(total))
        read = [getattr(m, f"s{i}")(getattr(m, f"f{i}")(pooled)) for i in range(consumers)]
        return m.out(sum(read[1:], read[0]))

    kept = {name: layer for name, layer in layers.items() if summed or name not in ("c2", "n2")}
    return Flow(flow, **kept)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(SHAPE[1:])], ids=str)
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("sums", [Sums.SUMMANDS, Sums.RELAYS])
def test_the_relay_adds_up_each_channel(pool: nn.Module, summed: bool, sums: str) -> None:
    made = made_for(of_spikes(network(pool, summed=summed), X), "loihi2", X, sums)
    assert made.differences() == []
    found, net = made.run_fast(), made.made.network
    (relay,) = (p for p in net.populations if p.kind is Kind.RELAY and p.shape == (3, 1, 1))
    assert relay.payload == (0, 30 * (2 if summed else 1))
    spikes = found["spikes/n"].astype(int) + (found["spikes/n2"] if summed else 0)
    np.testing.assert_array_equal(found[f"spikes/{relay.name}"], spikes.sum(axis=(3, 4), keepdims=True))
    assert found[f"spikes/{relay.name}"].max() > 1
    readers = {q.post for q in net.out_of(relay.name)}
    assert readers == {"s0", "s1"}
    assert all(isinstance(q.op, Dense) and net.array(q.op).shape == (4, 3) for q in net.out_of(relay.name))
    assert all(isinstance(q.op, Conv) for q in net.into(relay.name))
    assert any(found[f"spikes/s{i}"].any() for i in range(2))


def test_pooled_integers_follow_the_float_network() -> None:
    """The relay is exact; what differs is the rounding of the weights behind it."""
    made = made_for(of_spikes(network(consumers=1), X), "loihi2", X)
    plain = made_for(of_spikes(network(consumers=1), X), "loihi1", X)
    for one in (made, plain):
        found = one.run_fast()
        want = one.made.reference
        assert ("pool.0" in [p.name for p in want.populations]) is (one is made)
        assert found["spikes/n"].any()


@pytest.mark.parametrize("target", ["loihi1", "loihi1-davies"])
def test_no_relay_without_graded_spikes(target: str) -> None:
    made = of_spikes(network(), X)
    lowered = lower_for(made, load_target(target))
    assert not [p for p in lowered.populations if p.kind is Kind.RELAY]
    assert made_for(made, target, X).differences() == []


@pytest.mark.parametrize(("payload", "there"), [(1, False), (29, False), (30, True), (255, True)])
def test_the_payload_must_hold_the_largest_sum(payload: int, there: bool) -> None:
    made = of_spikes(network(), X)
    lowered = lower(made.graph, made.semantics, made.deployment, 63, payload)
    assert any(p.kind is Kind.RELAY for p in lowered.populations) is there


def test_a_relay_for_one_output_would_cost_more() -> None:
    made = of_spikes(network(outputs=1), X)
    lowered = lower_for(made, load_target("loihi2"))
    assert not [p for p in lowered.populations if p.kind is Kind.RELAY]


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.AvgPool2d((5, 3))], ids=str)
def test_other_pools_are_composed(pool: nn.Module) -> None:
    left = pool(torch.zeros(1, 3, *SHAPE[1:])).numel()
    layers = {"c": conv(2, 3), "n": IF(v_threshold=0.2), "out": PerStep(pool, nn.Flatten(), nn.Linear(left, 4))}
    module = Flow(lambda m, x: m.out(m.n(m.c(x))), **layers)
    lowered = lower_for(of_spikes(module, X), load_target("loihi2"))
    assert not [p for p in lowered.populations if p.kind is Kind.RELAY]


def test_explain_says_why() -> None:
    made = made_for(of_spikes(network(), X), "loihi2", X)
    assert [row for row in made.made.rationale if row.parameter == "pool"] == [
        Reason(
            population="pool.0",
            parameter="pool",
            integer="graded relay",
            real="5x6 pixels to one, sums up to 30",
            kind=Effect.CHOSEN,
            text="fewer synapses than the next layer's columns replicated over all pixels",
        )
    ]
    assert set(made.made.reference.notes.reasons) <= set(made.made.rationale)


def test_neurons_of_several_spikes_a_step_are_not_pooled_as_if_of_one() -> None:
    """Their sums could pass the relay's largest payload."""
    deployment = Deployment(4, "spikes", SHAPE, "mean")
    made = import_module(network(), deployment)
    made = replace(made, semantics=replace(made.semantics, multispike=3, reset=Reset.SUBTRACT))
    lowered = lower_for(made, load_target("loihi2"))
    assert lowered["n"].payload == (0, 3)
    assert not [p for p in lowered.populations if p.kind is Kind.RELAY]


@pytest.mark.parametrize("twice", ["before", "behind"])
def test_a_pool_that_counts_twice_is_not_one_relay(twice: str) -> None:
    """A delay of no steps beside a plain edge: the same spikes arrive twice."""
    size, none, shape = np.array([5, 6]), np.zeros(2, int), np.full(SHAPE, 1e4)
    nodes: Nodes = {
        "n": nir.IF(r=shape, v_threshold=np.full(SHAPE, 0.5), v_reset=np.zeros(SHAPE)),
        "pool": nir.SumPool2d(size, size, none),
        "flat": nir.Flatten({"input": np.array((2, 1, 1))}, 0, -1),
        "w": nir.Linear(np.ones((6, 2))),
        "again": nir.Delay(np.zeros(1)),
    }
    pre, post = ("n", "pool") if twice == "before" else ("pool", "flat")
    edges = [*chained("input", "n", "pool", "flat", "w", "output"), *chained(pre, "again", post)]
    made = source(nodes, edges, SHAPE, (6,), 4, "mean")
    lowered = lower_for(made, load_target("loihi2"))
    require_equal(check_lowering(made, lowered, X))
    found = made_for(made, "loihi2", X)
    np.testing.assert_allclose(
        found.real_output(found.run_fast())[..., 0], 2 * X.sum(axis=(2, 3, 4)), rtol=1e-2, err_msg="each spike twice"
    )
