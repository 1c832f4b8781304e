"""Small weights beside large ones into the same neurons: each operator in units of its own power of two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import snnhw
from snnhw.artifact import Artifact
from snnhw.network import Array, Conv, Diagonal
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, IterativeLIF

STEPS, SHAPE = 6, (2, 5, 5)


class Shortcut(nn.Module):
    """A convolution of small weights and the identity, of weight 1, into one neuron (Spiking ResNet, tdBN)."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = PerStep(nn.Conv2d(2, 2, 1, bias=False))
        self.spikes = IF()
        self.conv = PerStep(nn.Conv2d(2, 2, 3, padding=1, bias=False))
        self.lif = IterativeLIF(decay=0.25, threshold=0.5)
        with torch.no_grad():
            self.first[0].weight.copy_(torch.eye(2)[:, :, None, None])  # pyright: ignore
            self.conv[0].weight.uniform_(-size, size)  # pyright: ignore

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.spikes(self.first(x))
        out: torch.Tensor = self.lif(self.conv(s) + s)
        return out


def data() -> Array:
    return (np.random.default_rng(1).random((40, STEPS, *SHAPE)) < 0.4).astype(np.float64)


def compiled(size: float, target: str, calibrate: bool = True) -> Artifact:
    deployment = Deployment(STEPS, "spikes", SHAPE, "rate")
    samples = data() if calibrate else None
    return snnhw.compile(Shortcut(size), target=target, deployment=deployment, calibrate=samples)


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
@pytest.mark.parametrize("calibrate", [True, False])
def test_both_keep_their_resolution(target: str, calibrate: bool) -> None:
    network = compiled(0.03, target, calibrate).network
    conv, identity = (next(q for q in network.into("lif") if isinstance(q.op, kind)) for kind in (Conv, Diagonal))
    assert (conv.weight_exp, identity.weight_exp) == (0, 5), "1 is 2**5.06 times 0.03"
    largest = 127 if target == "loihi2" else 254
    assert np.abs(network.array(conv.op)).max() > largest // 3
    assert np.abs(network.array(identity.op)).max() > largest // 3


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
@pytest.mark.parametrize("size", [0.03, 0.2, 0.6])
def test_the_identity_is_never_clipped(target: str, size: float) -> None:
    """What 1 becomes, over what the threshold becomes, stays 1 / 0.5 in every channel."""
    network = compiled(size, target).network
    identity = next(q for q in network.into("lif") if isinstance(q.op, Diagonal))
    neuron = network["lif"].model
    one = network.array(identity.op) * 2.0**identity.weight_exp * (1 << neuron.act_shift)
    assert np.abs(one / neuron.vth / 2 - 1).max() < 0.02


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_spikes_stay(target: str) -> None:
    artifact, x = compiled(0.03, target), data()
    module = Shortcut(0.03).double().eval()
    with torch.no_grad():
        want = module(torch.from_numpy(x).transpose(0, 1)).transpose(0, 1).numpy()
    have = snnhw.run(artifact, x)["output"]
    assert (have != want).mean() < 0.005


def test_explain_says_the_unit() -> None:
    rows = [row for row in compiled(0.03, "loihi2").rationale if "2**5" in row.text]
    assert len(rows) == 1
    assert rows[0].text.endswith("in units of 2**5: small weights reach the same neurons")


def test_like_weights_share_one_unit() -> None:
    assert {q.weight_exp for q in compiled(0.9, "loihi2").network.projections} == {0}


class Faint(Shortcut):
    """The same with weights next to nothing beside the identity: what a branch starts from (gamma near 0)."""

    def __init__(self) -> None:
        super().__init__(0.001)


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_membranes_keep_their_room(target: str) -> None:
    """2**7 units for the identity would leave a stock membrane a few thresholds of room: the power gives way."""
    deployment = Deployment(STEPS, "spikes", SHAPE, "rate")
    artifact = snnhw.compile(Faint(), target=target, deployment=deployment, calibrate=data())
    neuron = artifact.network["lif"].model
    assert 16 * int(np.max(neuron.vth)) <= 1 << 23
    assert {bound["status"] for bound in artifact.bounds} == {"proven"}


def test_whole_weights_that_leak_go_the_normal_way() -> None:
    """Rounding their scale down would cost the threshold more than it saves."""
    from snnhw.zoo.neurons import LIF

    net = nn.Sequential(PerStep(nn.Conv2d(2, 2, 1, bias=False)), LIF(tau=2.0, decay_input=False, v_threshold=0.7))
    with torch.no_grad():
        net[0][0].weight.copy_(100 * torch.eye(2)[:, :, None, None])  # type: ignore[index]  # pyright: ignore
    deployment = Deployment(STEPS, "spikes", SHAPE, "rate")
    artifact = snnhw.compile(net, target="loihi1", deployment=deployment, calibrate=data())
    assert not [row for row in artifact.rationale if "whole weights stay exact" in row.text]
