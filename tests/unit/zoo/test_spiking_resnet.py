"""Spiking ResNet adds currents before the neuron: what that does to identity and to gradients (W6, W8, W11, W12)."""

from __future__ import annotations

import math
import operator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.neurons import IF, LIF, Neuron
from snnhw.zoo.spiking_resnet import PlainNet, SpikingBlock, SpikingResNet
from snnhw.zoo.surrogate import Atan, Rectangular, Surrogate
from snnhw.zoo.train import train
from tests.unit.zoo.nets import functions, lively, neurons, spikes

ATAN_OFF = 1.0 / (1.0 + math.pi**2)
"""ATan with alpha 2 at distance 1 from the threshold: 0.092."""


@pytest.mark.parametrize("stride", [1, 2])
def test_currents_add_before_the_last_neuron(stride: int) -> None:
    torch.manual_seed(0)
    block = lively(SpikingBlock(3, 3, stride, IF))
    assert isinstance(block, SpikingBlock)
    s = spikes(4, 2, 3, 6, 6)
    with torch.no_grad():
        branch = block.conv2(IF()(block.conv1(s)))
        current = branch + (s if stride == 1 else block.shortcut(s))
        assert torch.equal(block(s), IF()(current))
        assert not torch.equal(block(s), IF()(branch))
    assert len([m for m in block.modules() if isinstance(m, Neuron)]) == 2, "the shortcut has no neuron"


def test_what_the_front_end_reads() -> None:
    adds = functions(SpikingResNet(channels=(2, 4), blocks=(1, 1)))
    assert [target for target, _ in adds] == [operator.add, operator.add]
    assert functions(PlainNet(channels=(2, 4), blocks=(1, 1))) == []


def test_sizes_and_keys() -> None:
    x = torch.rand(2, 3, 1, 12, 12)
    spiking, plain = (make(channels=(2, 4), blocks=(1, 2), classes=5) for make in (SpikingResNet, PlainNet))
    assert spiking(x).shape == plain(x).shape == (2, 3, 5)
    shortcut = {key for key in spiking.state_dict() if key not in plain.state_dict()}
    assert {key.rpartition(".")[0] for key in shortcut} == {"stages.1.0.shortcut.conv", "stages.1.0.shortcut.bn"}
    # the stem's 2 x 12 x 12, two layers of that, and four of 4 x 6 x 6; no neuron in the shortcut
    assert neurons(spiking.eval(), x) == neurons(plain.eval(), x) == 3 * 288 + 4 * 144


def test_identity_holds_for_if_and_is_impossible_for_lif() -> None:
    s = spikes(6, 2, 3, 5, 5)
    through_if = nn.Sequential(*[SpikingBlock(3, 3, 1, IF, zero_init=True) for _ in range(4)])
    assert torch.equal(through_if(s), s)
    through_lif = SpikingBlock(3, 3, 1, LIF, zero_init=True)
    assert float(through_lif(torch.ones(8, 1, 3, 5, 5)).detach().sum()) == 0.0


def gradient(surrogate: Surrogate, spike: float, blocks: int) -> float:
    """d out / d in of one spike (or none) through so many blocks that start as the identity, T = 1."""

    def neuron() -> Neuron:
        return IF(surrogate=surrogate)

    s = torch.full((1, 1, 1, 1, 1), spike, requires_grad=True)
    chain = nn.Sequential(*[SpikingBlock(1, 1, 1, neuron, zero_init=True) for _ in range(blocks)]).eval()
    out: Tensor = chain(s)
    assert float(out.detach()) == spike
    out.backward()  # type: ignore[no-untyped-call]
    assert s.grad is not None
    return float(s.grad)


def test_gradients_vanish_off_threshold_and_can_explode_on_it() -> None:
    assert pytest.approx(0.092, abs=5e-4) == ATAN_OFF
    for k in (1, 3, 8):
        assert gradient(Atan(2.0), 0.0, k) == pytest.approx(ATAN_OFF**k, rel=1e-4)
        assert gradient(Atan(2.0), 1.0, k) == pytest.approx(1.0)
        assert gradient(Atan(4.0), 1.0, k) == pytest.approx(2.0**k)
        assert gradient(Rectangular(), 1.0, k) == 1.0
        assert gradient(Rectangular(), 0.0, k) == 0.0


@pytest.mark.parametrize("name", ["spiking_resnet_smoke", "plain_net_smoke"])
def test_smoke_recipes_learn(name: str, tmp_path: Path) -> None:
    history = train(name, tmp_path / "m.pt", log=lambda _: None)["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.parametrize("make", [SpikingResNet, PlainNet])
def test_impossible_networks_are_refused(make: type[nn.Module]) -> None:
    with pytest.raises(SnnhwError) as caught:
        make(channels=(4, 8), blocks=(1,))
    start = f"bad-network: the residual network cannot be built\n  where: {make.__name__}"
    assert str(caught.value).startswith(start)
