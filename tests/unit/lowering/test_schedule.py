"""Start steps, delays and relays: what makes the pipeline give the layer-synchronous result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from snnhw.errors import LoweringError
from snnhw.evaluate import evaluate
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.lowering.schedule import schedule
from snnhw.network import FloatNeuron, Kind, Network, Projection, verify
from snnhw.zoo.neurons import IF
from tests.unit.frontends.modules import Flow, conv, imported, values
from tests.unit.lowering.runs import integers, small_sew


def lowered(source: Source, max_delay: int) -> Network[FloatNeuron]:
    return lower(source.graph, source.semantics, source.deployment, max_delay)


def test_delays_are_differences_of_hops() -> None:
    network = lowered(small_sew(), 63)
    for projection in network.projections:
        hops = network[projection.post].start - network[projection.pre].start
        assert projection.delay == hops >= 1


def test_each_population_starts_right_behind_its_latest_input() -> None:
    network = lowered(small_sew(), 63)
    assert [p.start for p in network.inputs] == [0]
    for population in network.computed:
        assert population.start == 1 + max(network[p.pre].start for p in network.into(population.name))


def test_a_skip_gets_the_delay_of_its_branch() -> None:
    network = lowered(small_sew(), 63)
    delays = {p.pre: p.delay for p in network.into("stages.0.1.if1")}
    assert delays == {"stem_if": 3, "stages.0.0.if2": 1}
    down = {p.pre: p.delay for p in network.into("output")}
    assert down == {"stages.1.0.shortcut.neuron": 2, "stages.1.0.if2": 1}  # one hop of its own, then one to wait


@pytest.mark.parametrize("max_delay", [1, 2, 3, 4])
def test_relays_keep_every_delay_within_the_limit(max_delay: int) -> None:
    source = small_sew()
    network, free = lowered(source, max_delay), lowered(source, 63)
    assert max(p.delay for p in network.projections) <= max_delay
    relays = [p for p in network.populations if p.kind is Kind.RELAY]
    assert relays
    x = values(source)
    one, other = (dict(evaluate(n, {"input": x})) for n in (free, network))
    assert all(np.array_equal(other[name], one[name]) for name in one)
    for relay in relays:
        np.testing.assert_array_equal(other[relay.name], one[relay.name.split(".relay")[0]])


def test_a_chain_of_relays_is_shared() -> None:
    network = lowered(small_sew(), 1)
    names = [p.name for p in network.populations if p.kind is Kind.RELAY and p.name.startswith("stem_if")]
    assert names == [f"stem_if.relay{i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("max_delay", [1, 2, 63])
def test_pipeline_and_layers_give_the_same_bits(max_delay: int, target: str) -> None:
    made = integers(small_sew(), target, max_delay)
    assert made.differences() == []
    found = made.run_fast()
    for population in made.made.network.computed:
        spikes = found[f"spikes/{population.name}"]
        if population.kind is Kind.RELAY:
            np.testing.assert_array_equal(spikes, found[f"spikes/{population.name.split('.relay')[0]}"])
        assert spikes.any() or population.kind is Kind.ACCUMULATOR, "a silent population proves nothing"


def delayed(network: Network[FloatNeuron], skip: str, change: int) -> Network[FloatNeuron]:
    projections = [replace(p, delay=p.delay + change) if p.name == skip else p for p in network.projections]
    return replace(network, projections=tuple(projections))


def skips(network: Network[FloatNeuron]) -> list[Projection]:
    return [p for p in network.projections if p.delay > 1]


def test_a_skip_without_its_delay_is_refused() -> None:
    network = lowered(small_sew(), 63)
    for skip in skips(network):
        with pytest.raises(LoweringError) as caught:
            verify(delayed(network, skip.name, -1))
        assert str(caught.value) == (
            "invalid-network: a rule of the network does not hold: "
            "a projection's delay is the difference of the start steps and its lag\n"
            f"  where: {skip.name}"
        )


def test_a_skip_without_its_delay_gives_other_bits() -> None:
    """Past the verifier: the reference engine, which runs the pipeline, shows it for every skip."""
    made = integers(small_sew(), "loihi2", 63)
    assert skips(made.made.network)
    for skip in skips(made.made.network):
        for change in (-1, 1):
            assert made.differences(delayed(made.made.network, skip.name, change)), (skip.name, change)


def test_an_input_that_would_have_to_wait() -> None:
    """Inputs have no relays: nothing on the chip holds them back."""
    module = Flow(lambda m, x: m.n2(m.c2(m.n1(m.c1(x)) + x)), c1=conv(), n1=IF(), c2=conv(), n2=IF())
    source = imported(nn.Sequential(module))
    assert {p.delay for p in lowered(source, 2).out_of("input")} == {1, 2}
    with pytest.raises(LoweringError) as caught:
        lowered(source, 1)
    assert str(caught.value) == (
        "input-delay: the input reaches a population later than the longest delay allows\n"
        "  where: input\n"
        "  limit: 1 steps\n"
        "  hint: connect the input nearer to its consumer, or choose a target with longer delays"
    )


def test_a_delay_below_one_step() -> None:
    with pytest.raises(LoweringError) as caught:
        schedule(lowered(small_sew(), 63), 0)
    assert str(caught.value) == ("bad-delay: the longest delay must be at least one step\n  needed: 0\n  limit: 1")
