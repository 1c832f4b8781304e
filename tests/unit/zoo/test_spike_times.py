"""Spike times, and the losses on them, written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.objectives import decode, loss_of
from snnhw.zoo.registry import RECIPES
from snnhw.zoo.spike_times import spike_times
from snnhw.zoo.spikeprop import SpikeProp

TIMES = torch.tensor([[2, 5, 8], [8, 8, 1]])  # of T = 8: 8 is silence


def spikes() -> Tensor:
    return (torch.arange(8).view(-1, 1, 1) == TIMES).float().requires_grad_()


def test_times_of_spikes_and_silence() -> None:
    s = spikes()
    assert torch.equal(spike_times(s), TIMES.float())
    assert decode(s.detach(), "first").tolist() == [0, 2]
    spike_times(s).sum().backward()
    assert s.grad is not None
    assert torch.equal(s.grad[:, 0, 0], torch.arange(8.0) - 8)  # moved by one step, a spike changes its time by one


def test_first_cross_entropy_is_the_softmax_of_minus_times() -> None:
    s, y = spikes(), torch.tensor([1, 2])
    loss = loss_of(RECIPES["relpsp_digits"], nn.Identity(), s, y)
    wanted = 0.0
    for row, label in zip(TIMES.tolist(), y.tolist(), strict=True):
        wanted -= math.log(math.exp(-row[label]) / sum(math.exp(-t) for t in row)) / 2
    assert float(loss.detach()) == pytest.approx(wanted)


def test_spike_time_error_is_half_the_squared_distance() -> None:
    s, y = spikes(), torch.tensor([0, 1])
    net = SpikeProp(classes=3, targets=(3, 6))
    loss = loss_of(RECIPES["spikeprop_xor"], net, s, y)
    wanted = ((2 - 3) ** 2 + (5 - 6) ** 2 + (8 - 6) ** 2 + (8 - 6) ** 2 + (8 - 3) ** 2 + (1 - 6) ** 2) / 4
    assert float(loss.detach()) == wanted


def test_a_network_without_targets_is_refused() -> None:
    with pytest.raises(SnnhwError) as caught:
        loss_of(RECIPES["spikeprop_xor"], nn.Identity(), spikes(), torch.tensor([0, 1]))
    assert str(caught.value).startswith(
        "no-targets: the loss spike_time_error needs the spike times wanted\n  where: Identity\n"
    )
