"""Small torch modules for tests of the front ends and of lowering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.frontends.checkpoint import import_module
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF, PLIF, IterativeLIF, Neuron


class Flow(nn.Module):
    """A module whose forward is a function of its layers: `Flow(lambda m, x: m.neuron(m.conv(x)), conv=…)`."""

    def __init__(self, flow: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.flow = flow

    def forward(self, x: Tensor) -> Any:
        return self.flow(self, x)


class Residual(nn.Module):
    """branch(x) + shortcut(x)."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.branch(x) + self.shortcut(x)
        return total


def conv(inputs: int = 2, outputs: int = 2, kernel: int = 3, **options: Any) -> PerStep:
    return PerStep(nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, **options}))


def imported(module: nn.Module, shape: tuple[int, ...] = (2, 5, 5), steps: int = 4, readout: str = "rate") -> Source:
    return import_module(module, Deployment(steps, "direct", shape, readout))


def values(source: Source, samples: int = 3, seed: int = 0, high: float = 3.0) -> Array:
    """Random real input (samples, T, ...) of both signs, strong enough to make neurons fire."""
    shape = (samples, source.deployment.steps, *source.deployment.input_shape)
    return np.random.default_rng(seed).standard_normal(shape) * high


def settled(norm: nn.Module, seed: int = 0) -> nn.Module:
    """A BatchNorm whose numbers are far from those it starts with."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.copy_(torch.randn(values.shape, generator=rng))
        norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=rng) + 0.1)
    return norm


def random_neuron(rng: np.random.Generator) -> Neuron:
    """Any neuron of the zoo with any reset and comparison."""
    threshold = float(rng.uniform(0.3, 0.8))
    options: Mapping[str, Any] = {
        "v_reset": [0.0, None, -0.25][rng.integers(3)],
        "comparison": ["ge", "gt"][rng.integers(2)],
    }
    match rng.integers(4):
        case 0:
            return IF(v_threshold=threshold, **options)
        case 1:
            return LIF(
                tau=float(rng.integers(2, 8)), decay_input=bool(rng.integers(2)), v_threshold=threshold, **options
            )
        case 2:
            return PLIF(
                init_tau=float(rng.uniform(1.2, 4)), decay_input=bool(rng.integers(2)), v_threshold=threshold, **options
            )
        case _:
            return IterativeLIF(decay=float(rng.uniform(0, 0.9)), threshold=threshold, **options)


def random_module(seed: int, side: int = 9, most_groups: int = 2) -> tuple[nn.Module, tuple[int, ...], str]:
    """A random network of convolutions, pools, residual blocks and linear layers, its input shape and its readout."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    channels = 2 * int(rng.integers(1, 3))
    shape = (channels, side, side + 1)
    layers: list[nn.Module] = []
    for _ in range(int(rng.integers(1, 4))):
        wider = channels * int(rng.integers(1, 3))
        layers += [PerStep(*_linear_layers(rng, channels, wider, most_groups)), random_neuron(rng)]
        channels = wider
        if rng.random() < 0.6:
            layers.append(_block(rng, channels))
        left = nn.Sequential(*layers).eval()(torch.zeros(1, 1, *shape))[0, 0].shape
        if min(left[1:]) < 4:
            break
    features = left.numel()
    layers.append(PerStep(nn.AvgPool2d(1), nn.Flatten(), nn.Linear(features, 4, bias=bool(rng.integers(2)))))
    spiking = bool(rng.integers(2))
    return nn.Sequential(*layers, *([random_neuron(rng)] if spiking else [])), shape, "rate" if spiking else "mean"


def _linear_layers(rng: np.random.Generator, inputs: int, outputs: int, most_groups: int) -> list[nn.Module]:
    kernel, dilation, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, most_groups + 1))
    options = {"stride": int(rng.integers(1, 3)), "padding": kernel - 1, "dilation": dilation, "groups": groups}
    normalised = bool(rng.integers(2))
    found: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, bias=not normalised, **options)]
    if normalised:
        found.append(settled(nn.BatchNorm2d(outputs), int(rng.integers(100))))
    if rng.random() < 0.5:
        pool = nn.AvgPool2d(2, stride=int(rng.integers(1, 4)), padding=int(rng.integers(2)))
        found.insert(0 if rng.random() < 0.5 else len(found), pool)
    return found


def _block(rng: np.random.Generator, channels: int) -> nn.Module:
    first, second = conv(channels, channels), conv(channels, channels)
    branch = nn.Sequential(first, random_neuron(rng), second, random_neuron(rng))
    if rng.random() < 0.5:
        return Residual(branch, nn.Identity())
    return Residual(branch, nn.Sequential(conv(channels, channels, 1), random_neuron(rng)))
