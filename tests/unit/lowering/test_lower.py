"""NIR to populations and projections: shared weights, biases through chains, gains, readout."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import LoweringError, SourceError
from snnhw.evaluate import evaluate
from snnhw.frontends.check import Check, compared, require_equal, run_module
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower
from snnhw.network import Conv, Dense, FloatNeuron, Kind, Network
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.frontends.graphs import EDGES, deployment, graph, lif, semantics
from tests.unit.frontends.modules import Flow, conv, imported, random_module, values


def lowered(source: Source, max_delay: int = 63) -> Network[FloatNeuron]:
    return lower(source.graph, source.semantics, source.deployment, max_delay)


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_spike_alike(seed: int) -> None:
    module, shape, readout = random_module(seed)
    source = imported(module, shape, readout=readout)
    network = lowered(source)
    x = values(source)
    assert require_equal(check_lowering(source, network, x)).compared > 0
    found = dict(evaluate(network, {"input": x}))
    for name, spikes in run_module(source, x).items():  # the module itself, not only its graph
        if name in found:
            np.testing.assert_allclose(found[name], spikes, atol=1e-9, err_msg=name)


def sew_block(m: Any, x: Tensor) -> Any:
    s = m.n0(m.c0(x))
    a = m.n1(m.c1(s)) + s
    return m.out(m.n3(m.c3(m.n2(m.c2(a)))) + a)


def block_source() -> Source:
    layers = {f"c{i}": conv() for i in range(4)} | {f"n{i}": IF(v_threshold=0.4) for i in range(4)}
    out = PerStep(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return imported(Flow(sew_block, **layers, out=out), readout="mean")


def test_summands_share_one_weight_array() -> None:
    network = lowered(block_source())
    into = {p.name: network.into(p.name) for p in network.computed}
    assert {p.pre for p in into["n2"]} == {"n0", "n1"}
    assert {p.pre for p in into["output"]} == {"n0", "n1", "n3"}
    for name in ("n2", "output"):
        assert len({p.op for p in into[name]}) == 1, "one operator, one array"
    assert len(network.weights) == 5
    assert isinstance(into["n2"][0].op, Conv)
    assert isinstance(into["output"][0].op, Dense)
    assert network["output"].kind is Kind.ACCUMULATOR


def test_shared_weights_give_the_modules_spikes() -> None:
    source = block_source()
    require_equal(check_lowering(source, lowered(source), values(source)))


def test_names_of_projections_are_distinct() -> None:
    network = lowered(block_source())
    names = [p.name for p in network.projections]
    assert len(set(names)) == len(names)
    assert "n0->n1 via c1.0" in names


def test_a_bias_passes_padded_pools_with_its_borders() -> None:
    """Average pooling counts padding as zeros: the bias arrives weaker at the border."""
    layer = nn.Conv2d(1, 1, 1)
    nn.init.constant_(layer.bias, 1.0)  # type: ignore[arg-type]
    source = imported(Flow(lambda m, x: m.n(m.b(x)), b=PerStep(layer, nn.AvgPool2d(3, 2, 1)), n=IF()), (1, 5, 5))
    bias = np.broadcast_to(lowered(source)["n"].model.bias, (1, 3, 3))[0]
    np.testing.assert_allclose(bias, [[4 / 9, 6 / 9, 4 / 9], [6 / 9, 1, 6 / 9], [4 / 9, 6 / 9, 4 / 9]])
    require_equal(check_lowering(source, lowered(source), values(source)))


def test_a_bias_that_is_the_same_in_a_channel_stays_small() -> None:
    source = imported(Flow(lambda m, x: m.n(m.c(x)), c=conv(2, 4), n=IF()))
    assert lowered(source)["n"].model.bias.shape == (4, 1, 1)


def test_biases_of_both_convolutions_arrive() -> None:
    body = PerStep(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 3, padding=1))
    source = imported(Flow(lambda m, x: m.n(m.b(x)), b=body, n=IF()), (2, 6, 6))
    silent = np.zeros((1, 1, 2, 6, 6))
    want = body[1](body[0](torch.zeros(1, 2, 6, 6)))[0].detach().numpy()
    total = dict(evaluate(lowered(source), {"input": silent}))["n"]
    np.testing.assert_allclose(np.broadcast_to(lowered(source)["n"].model.bias, want.shape), want, atol=1e-6)
    np.testing.assert_array_equal(total[0, 0], want >= 1.0)


@pytest.mark.parametrize("decay_input", [True, False])
def test_one_over_tau_goes_into_weights_and_bias(decay_input: bool) -> None:
    """tau = 4: v = 0.75 v + (W x + b) / 4, or without decay_input + (W x + b)."""
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([0.5])})
    neuron = LIF(tau=4.0, decay_input=decay_input)
    network = lowered(imported(Flow(lambda m, x: m.n(m.f(x)), f=PerStep(layer), n=neuron), (1,)))
    factor = 0.25 if decay_input else 1.0
    (projection,) = network.into("n")
    assert network.array(projection.op) == [[2.0 * factor]]
    assert float(network["n"].model.bias) == 0.5 * factor
    assert network["n"].model.v_keep == 0.75


def test_a_gain_that_differs_inside_a_channel() -> None:
    shape = (1, 2, 2)
    r = np.array([[[1e4, 2e4], [1e4, 1e4]]])
    nodes = {
        "input": nir.Input({"input": np.array(shape)}),
        "fc": nir.Conv2d((2, 2), np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (1, 1), 1, np.zeros(1)),
        "neuron": nir.IF(r=r, v_threshold=np.ones(shape)),
        "output": nir.Output({"output": np.array(shape)}),
    }
    made = graph(nodes)
    network = lower(made, semantics(), deployment(shape), 63)
    (projection,) = network.into("neuron")
    assert isinstance(projection.op, Conv)
    np.testing.assert_array_equal(network.array(projection.op), np.ones((1, 1, 1, 1)))
    np.testing.assert_array_equal(network["neuron"].model.threshold, [[[1.0, 0.5], [1.0, 1.0]]])
    x = (np.random.default_rng(0).random((3, 4, *shape)) < 0.5) * 0.75
    found = dict(evaluate(network, {"input": x}))["neuron"]
    assert found.any()
    np.testing.assert_array_equal(found, run(made, semantics(), x)["neuron"])


def test_a_readouts_gain_that_differs_inside_a_channel() -> None:
    """Membranes that are read keep their unit."""
    shape = (1, 2, 2)
    leak = nir.LI(tau=np.full(shape, 2e-4), r=np.array([[[1.0, 2.0], [1.0, 1.0]]]), v_leak=np.zeros(shape))
    nodes = {
        "input": nir.Input({"input": np.array(shape)}),
        "fc": nir.Conv2d((2, 2), np.ones((1, 1, 1, 1)), (1, 1), (0, 0), (1, 1), 1, np.zeros(1)),
        "neuron": leak,
        "output": nir.Output({"output": np.array(shape)}),
    }
    with pytest.raises(LoweringError) as caught:
        lower(graph(nodes), semantics(), deployment(shape, "membrane"), 63)
    assert str(caught.value) == (
        "per-neuron-gain: a factor that differs inside a channel cannot enter a convolution's weights\n"
        "  where: neuron\n"
        "  hint: use one time constant per channel"
    )


def test_a_gain_per_channel_or_neuron_of_a_matrix() -> None:
    changed = graph({"neuron": nir.IF(r=np.array([1e4, 3e4]), v_threshold=np.ones(2))})
    network = lower(changed, semantics(), deployment(), 63)
    (projection,) = network.into("neuron")
    np.testing.assert_allclose(network.array(projection.op), [[1, 2, 3], [-3, 3, 1.5]])


@pytest.mark.parametrize(
    ("ends", "readout", "fits"), [("in spikes", "mean", "rate"), ("in a linear layer", "rate", "mean")]
)
def test_a_readout_that_does_not_fit(ends: str, readout: str, fits: str) -> None:
    tail = {"last": nir.Linear(weight=np.eye(2))}
    edges = [*EDGES[:2], ("neuron", "last"), ("last", "output")]
    made = graph() if fits == "rate" else graph(tail, edges)
    with pytest.raises(LoweringError) as caught:
        lower(made, semantics(), deployment(readout=readout), 63)
    assert str(caught.value) == (
        f"bad-readout: the network ends {ends}, which readout {readout!r} does not read\n"
        "  where: output\n"
        f"  needed: {fits}\n"
        "  limit: rate, first (spikes), mean (linear layer), membrane (I, LI, CubaLI)\n"
        f"  hint: deploy with readout {fits!r}"
    )


def test_the_readout_of_a_spiking_end_is_the_neuron() -> None:
    assert lower(graph(), semantics(), deployment(), 63).readout.population == "neuron"


def test_a_sum_of_two_neurons_at_the_end_is_accumulated() -> None:
    made = graph({"n2": lif()}, [*EDGES, ("fc", "n2"), ("n2", "output")])
    network = lower(made, semantics(), deployment(readout="mean"), 63)
    assert network["output"].kind is Kind.ACCUMULATOR
    assert {p.pre for p in network.into("output")} == {"neuron", "n2"}


def test_the_bias_of_the_last_layer_enters_every_step() -> None:
    body = PerStep(nn.Linear(3, 2))
    source = imported(Flow(lambda m, x: m.f(m.n(x)), f=body, n=IF()), (3,), readout="mean")
    quiet = dict(evaluate(lowered(source), {"input": np.zeros((1, 4, 3))}))["output"]
    want = body[0].bias.detach().double().numpy()
    np.testing.assert_allclose(quiet[0], np.tile(want, (4, 1)))


def test_a_check_names_the_first_difference() -> None:
    source = block_source()
    network = lowered(source)
    broken = {name: w + (name == "n2<-c2.0") for name, w in network.weights.items()}
    check = check_lowering(source, replace(network, weights=broken), values(source))
    assert check.to_dict()["status"] == "failed"
    assert check.detail.startswith("n2, index (sample, step, neuron...) (")
    with pytest.raises(LoweringError) as caught:
        require_equal(check)
    assert str(caught.value) == (
        "not-equal: two stages give different spikes (NIR = lowered)\n"
        f"  where: {check.detail}\n"
        f"  needed: equal spikes in {check.compared} decisions\n  limit: {check.different} differ\n"
        "  hint: this is a defect of snnhw: please report it with the model"
    )


def test_a_missing_population_counts_as_different() -> None:
    check = compared("a = b", {"n": np.zeros((2, 3))}, [])
    assert check == Check("a = b", 2, 6, 6, "n: missing or of another shape")


def test_layers_of_different_dialects_in_one_network() -> None:
    """Comparison and reset are fields of each population."""
    neurons = {"a": IF(comparison="gt", v_reset=None), "b": LIF(comparison="ge", v_reset=-0.5)}
    source = imported(Flow(lambda m, x: m.b(m.d(m.a(m.c(x)))), c=conv(), d=conv(), **neurons))
    network = lowered(source)
    assert (network["a"].model.comparison, network["b"].model.comparison) == ("gt", "ge")
    assert (network["a"].model.reset, network["b"].model.reset) == ("subtract", "zero")
    require_equal(check_lowering(source, network, values(source)))


def test_deployment_steps_are_the_networks() -> None:
    assert lower(graph(), semantics(), Deployment(7, "direct", (3,), "rate"), 63).steps == 7


def test_a_conv1d_of_groups_and_strides() -> None:
    """Populations of two axes: the operator is a sparse matrix."""
    weight = np.arange(4 * 1 * 3).reshape(4, 1, 3) / 4.0
    node = nir.Conv1d(
        input_shape=None, weight=weight, stride=2, padding=1, dilation=1, groups=2, bias=np.array([0.5, 0, 0, 0])
    )
    shape = (4, 4)
    neuron = nir.IF(r=np.full(shape, 1e4), v_threshold=np.full(shape, 2.0), v_reset=np.zeros(shape))
    nodes = {
        "input": nir.Input({"input": np.array([2, 8])}),
        "conv": node,
        "n": neuron,
        "output": nir.Output({"output": np.array(shape)}),
    }
    edges = [("input", "conv"), ("conv", "n"), ("n", "output")]
    made = nir.NIRGraph(nodes, edges, type_check=False)
    network = lower(made, semantics(), deployment((2, 8)), 63)
    x = (np.random.default_rng(0).random((3, 4, 2, 8)) < 0.5).astype(float)
    want = torch.nn.functional.conv1d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.tensor([0.5, 0, 0, 0]).double(), 2, 1, 1, 2
    )
    v, spikes = np.zeros((3, *shape)), []
    for now in want.reshape(3, 4, *shape).numpy().swapaxes(0, 1):
        v = v + now
        spikes.append(v > 2)
        v = np.where(v > 2, 0.0, v)
    np.testing.assert_array_equal(dict(evaluate(network, {"input": x}))["n"], np.stack(spikes, 1))
    np.testing.assert_array_equal(run(made, semantics(), x)["n"], np.stack(spikes, 1))


def diamonds(layers: int) -> nir.NIRGraph:
    """Every layer of scales doubles the ways."""
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([3])}), "neuron": lif(3)}
    edges, before = [("neuron", "output")], ["input"]
    for i in range(layers):
        for side in "ab":
            nodes[f"{side}{i}"] = nir.Scale(np.full(3, 0.5))
            edges += [(pre, f"{side}{i}") for pre in before]
        before = [f"a{i}", f"b{i}"]
    nodes["output"] = nir.Output({"output": np.array([3])})
    return nir.NIRGraph(nodes, [*edges, *((pre, "neuron") for pre in before)], type_check=False)


def test_too_many_ways() -> None:
    lower(diamonds(4), semantics(), deployment(), 63)
    with pytest.raises(LoweringError) as caught:
        lower(diamonds(20), semantics(), deployment(), 63)
    assert str(caught.value).startswith("too-many-ways: too many ways lead through linear layers into one node\n")


def test_a_long_chain_of_linear_nodes() -> None:
    names = [f"s{i:04d}" for i in range(1500)]
    nodes = {name: nir.Scale(np.ones(3)) for name in names}
    nodes |= {"input": nir.Input({"input": np.array([3])}), "neuron": lif(3)}
    nodes["output"] = nir.Output({"output": np.array([3])})
    edges = list(itertools.pairwise(["input", *names, "neuron", "output"]))
    network = lower(nir.NIRGraph(nodes, edges, type_check=False), semantics(), deployment(), 63)
    assert len(network.into("neuron")) == 1


def test_a_scale_of_more_axes_than_its_input() -> None:
    wide = graph({"fc": nir.Scale(np.ones((3, 3))), "neuron": lif(3)})
    with pytest.raises(SourceError) as caught:
        lower(wide, semantics(), deployment(), 63)
    assert str(caught.value).startswith(
        "bad-shape: the node does not take its input: its scale has the shape (3, 3)\n  where: fc\n"
    )


def test_numbers_that_overflow_in_one_step() -> None:
    huge = graph({"neuron": lif(r=1e308, tau=1e-12)})
    with pytest.raises(SourceError) as caught:
        lower(huge, semantics(dt=1e3), deployment(), 63)
    assert str(caught.value) == (
        "bad-parameter: dt and the parameters of a neuron give numbers that are not finite\n"
        "  needed: inf\n  limit: finite gains and decays\n  hint: check dt, tau, r and w_in"
    )


def test_a_floor_above_the_threshold() -> None:
    with pytest.raises(SourceError) as caught:
        lower(graph(), semantics(v_min=5.0), deployment(), 63)
    assert str(caught.value) == (
        "bad-semantics: the lower clip of the membrane is above a threshold\n"
        "  needed: v_min = 5\n  limit: threshold 1\n  hint: such a neuron fires for ever: v_min is a floor"
    )
