"""SpikeProp's network: its response is that of the paper, it can be traced, and it learns XOR."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from snnhw.errors import SnnhwError
from snnhw.zoo import checkpoint
from snnhw.zoo.containers import PerStep
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.encode import encode
from snnhw.zoo.registry import RECIPES, build
from snnhw.zoo.spike_times import spike_times
from snnhw.zoo.spikeprop import SpikeProp
from snnhw.zoo.timed import Delayed, FirstSpike
from snnhw.zoo.train import train


class Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, PerStep | FirstSpike | Delayed) or super().is_leaf_module(m, module_qualified_name)


def test_the_layer_is_a_spike_response_model() -> None:
    """First step at which sum w eps(t - t_i - (d - 1)) reaches the threshold, in units of the neuron's response."""
    torch.manual_seed(2)
    tau, net = 7.0, SpikeProp(hidden=6).double()
    times = torch.tensor([0, 6, 3])
    x = (torch.arange(32).view(-1, 1, 1) == times).double()
    found = spike_times(net.neurons1(net.synapses1(x)))[0]
    t = torch.arange(32, dtype=torch.float64).view(-1, 1, 1)
    age = t - times - torch.tensor(net.synapses1.delays).view(-1, 1) + 1  # [T, K, inputs]
    eps = torch.where(age > 0, age / tau * torch.exp(1 - age / tau), 0.0) * tau * math.exp(1 / tau - 1)
    for j in range(6):
        v = (eps * net.synapses1.weight[:, j].detach()).sum((1, 2))
        reached = torch.nonzero(v >= 1.0)
        assert int(found[j]) == (int(reached[0]) if len(reached) else 32)
    assert found.min() < 32


def test_it_traces_and_names_its_layers() -> None:
    net = SpikeProp()
    graph = Tracer().trace(net)
    wanted = ["flatten", "synapses1", "neurons1", "synapses2", "neurons2"]
    assert [node.target for node in graph.nodes if node.op == "call_module"] == wanted
    assert list(net.state_dict()) == ["synapses1.weight", "synapses2.weight"]
    assert net.state_dict()["synapses1.weight"].shape == (16, 5, 3)


def test_it_solves_xor(tmp_path: Path) -> None:
    """Every pattern right, with spikes within one step of the times wanted."""
    recipe = replace(RECIPES["spikeprop_xor"], epochs=30)
    content = train(recipe, tmp_path / "m.pt", log=lambda _: None)
    assert content["metrics"]["test_accuracy"] == 1.0
    model, _ = checkpoint.load_model(tmp_path / "m.pt")
    data = dataset_of("xor")
    times = spike_times(model(encode(data.x_test, "spikes", 32, torch.Generator())))
    wanted = torch.tensor([[10.0, 16.0], [16.0, 10.0]])[data.y_test]
    assert (times - wanted).abs().max() <= 1


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"hidden": 0}, "bad-network: the SpikeProp network cannot be built\n  where: SpikeProp"),
        ({"tau": 0.0}, "bad-network: the SpikeProp network cannot be built\n  where: SpikeProp"),
        ({"targets": [1]}, "bad-network: the SpikeProp network cannot be built\n  where: SpikeProp"),
        ({"delays": []}, "bad-delays: the delays of a connection cannot be used"),
    ],
)
def test_wrong_networks_are_refused(config: dict[str, object], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        build("spikeprop", config)
    assert str(caught.value).startswith(text)
