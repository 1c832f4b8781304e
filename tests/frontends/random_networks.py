"""Random networks of a framework: imported exactly, compiled, and the same in both integer engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

import snnhw
from snnhw.frontends.check import check_import
from snnhw.frontends.live_module import load_module
from tests.frontends.harness import FLAT, NT, TN, assert_engines_agree

STEPS, SAMPLES = 10, 3


@dataclass(frozen=True)
class Kit:
    """How a framework's networks are put together.

    Args:
        neuron: (random, neurons of one axis or channels, whether they are in one axis) -> layer.
        chain: layers -> network.
        layout: of its input.
        gain: of the weights.
        linear: (inputs, outputs) -> layer.
        lift: what a layer without time needs around it.
        pools: layers that halve height and width; none: no convolutions.
    """

    neuron: Callable[[Random, int, bool], nn.Module]
    chain: Callable[[list[nn.Module]], nn.Module]
    layout: str
    gain: float = 1.5
    linear: Callable[[int, int], nn.Module] = nn.Linear
    lift: Callable[[nn.Module], nn.Module] = lambda layer: layer
    pools: tuple[Callable[[], nn.Module], ...] = ()


def spread(random: Random, low: float, high: float, count: int | None = None) -> Tensor:
    """A parameter for all neurons or, half the time where a count is given, one for each."""
    if count is not None and random.random() < 0.5:
        return torch.tensor([random.uniform(low, high) for _ in range(count)])
    return torch.tensor(random.uniform(low, high))


def convolutions(kit: Kit, random: Random) -> tuple[list[nn.Module], int]:
    """Some blocks behind an image (2, 8, 8), and how many values come out of them."""
    layers: list[nn.Module] = []
    channels, size = 2, 8
    for _ in range(random.randint(1, 2)):
        kernel, stride, out = random.choice([1, 3]), random.choice([1, 1, 2]), random.choice([2, 4])
        bias, groups = random.random() < 0.5, random.choice([1, 1, 2])
        layers.append(kit.lift(nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=bias)))
        channels, size = out, (size - 1) // stride + 1
        if random.random() < 0.4:
            norm = nn.BatchNorm2d(channels)
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 2.0)
            layers.append(kit.lift(norm))
        layers.append(kit.neuron(random, channels, False))
        if size >= 4 and random.random() < 0.5:
            layers.append(kit.lift(random.choice(kit.pools)()))
            size //= 2
    layers.append(nn.Flatten(1 if kit.layout == FLAT else 2))
    return layers, channels * size * size


def check_random(kit: Kit, seed: int) -> None:
    """Assert that a network of one or more layers is what its framework runs."""
    random = Random(seed)
    torch.manual_seed(seed)
    images = bool(kit.pools) and random.random() < 0.5
    shape = (2, 8, 8) if images else (10,)
    layers, width = convolutions(kit, random) if images else ([], 10)
    for _ in range(random.randint(1, 3)):
        count = random.choice([5, 8])
        linear = kit.linear(width, count)
        with torch.no_grad():
            linear.weight.normal_(0.1, kit.gain / width**0.5)
        layers += [linear, kit.neuron(random, count, True)]
        width = count
    x = (torch.rand((SAMPLES, STEPS, *shape)) < 0.4).float()
    arranged = {NT: x, TN: x.transpose(0, 1), FLAT: x.flatten(0, 1)}[kit.layout]
    source = load_module(kit.chain(layers).eval(), arranged)
    other = (np.random.default_rng(seed).random(x.shape) < 0.4).astype(np.float64)
    checked = check_import(source, other)
    assert checked.different == 0, checked.detail
    assert checked.compared + checked.excepted > 0
    artifact = snnhw.compile(source, target="loihi2", calibrate=x.numpy())
    assert_engines_agree(artifact, x.numpy())
