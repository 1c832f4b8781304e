"""Spiking networks that are one chain of layers, as SpikingJelly's models and tutorials write them in a Sequential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import LIF
from snnhw.zoo.residual import neuron_maker
from snnhw.zoo.surrogate import Surrogate

Spec = Sequence[Any]
"""A layer's name and its numbers, as in `LAYERS`."""


def _vote(features: int, size: int) -> nn.Linear:
    """SpikingJelly's VotingLayer: the mean of every `size` neurons, as a matrix."""
    layer = nn.Linear(features, features // size, bias=False)
    layer.weight = nn.Parameter(votes(features, size).float())
    return layer


def votes(features: int, size: int) -> Tensor:
    """The matrix (classes, features) of a vote, float64."""
    return torch.eye(features // size, dtype=torch.float64).repeat_interleave(size, dim=1) / size


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "conv": lambda inputs, outputs, bias: nn.Conv2d(inputs, outputs, 3, padding=1, bias=bool(bias)),
    "norm": nn.BatchNorm2d,
    "pool": lambda size: nn.MaxPool2d(size, size),
    "flatten": nn.Flatten,
    "linear": lambda inputs, outputs, bias: nn.Linear(inputs, outputs, bias=bool(bias)),
    "vote": _vote,
}
"""Name -> layer of its numbers: conv (inputs, outputs, bias; 3x3), norm (channels), pool (size; max), flatten (),
linear (inputs, outputs, bias), vote (features, size). `spikes` () is a neuron layer, and `none` () no layer at all."""


class Chain(nn.Module):
    """Layers one after another over ``[T, N, ...]``; layer i is ``layers.i`` (``layers.i.0`` where it has no state).

    Args:
        layers: specs.
        neuron: ``if``, ``lif`` or ``plif``, SpikingJelly's with hard reset to 0 and >=.
        v_threshold: of all neurons.
        decay: of LIF: 1 - 1/tau, the input scaled by 1/tau.
    """

    def __init__(
        self,
        layers: Sequence[Spec],
        neuron: str = "if",
        v_threshold: float = 1.0,
        decay: float = 0.5,
        surrogate: str | Surrogate = "atan",
    ) -> None:
        super().__init__()
        make = neuron_maker(neuron, surrogate, v_threshold)
        if neuron == "lif":
            tau = 1.0 / (1.0 - decay)
            self.layers = _built(layers, lambda: LIF(tau=tau, surrogate=surrogate, v_threshold=v_threshold))
        else:
            self.layers = _built(layers, make)

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, ...]`` to what the last layer gives at every step."""
        out: Tensor = self.layers(x)
        return out


def _built(layers: Sequence[Spec], make: Callable[[], nn.Module]) -> nn.Sequential:
    found: list[nn.Module] = []
    for number, (name, *numbers) in enumerate(layers):
        if name == "spikes":
            found.append(make())
        elif name == "none":
            found.append(nn.Identity())
        elif name in LAYERS:
            found.append(PerStep(LAYERS[name](*numbers)))
        else:
            raise SnnhwError(
                "bad-network",
                "the chain has no such layer",
                where=f"layers[{number}]",
                needed=repr(name),
                limit=", ".join([*LAYERS, "spikes", "none"]),
                hint='for example layers=[("conv", 1, 8, 0), ("spikes",), ("flatten",), ("linear", 6272, 10, 1)]',
            )
    return nn.Sequential(*found)
