"""A layer of neurons that compete: each spike inhibits all others, one step later; and the network around it.

Its weights come from STDP (`stdp.py`), as in Diehl and Cook 2015, "Unsupervised learning of digit recognition using
spike-timing-dependent plasticity". The inhibition is late by the one step that a spike takes from a neuron to its
neighbours on a chip, in training as in deployment, so that what was learnt is what runs.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep


class Competing(nn.Module):
    """Leaky neurons with thresholds of their own; currents to spikes, both ``[T, N, neurons]``.

    ``h[t] = keep v[t-1] + x[t] - inhibition * (spikes of the others at t-1)``, ``s[t] = h[t] >= threshold``,
    ``v[t] = 0`` where s[t], else h[t]; v and s are 0 before a sample.

    Args:
        neurons: in the layer.
        keep: what v keeps per step, in (0, 1].
        inhibition: taken from v for each spike of another neuron.
        threshold: to begin with; ``thresholds`` is what has become of it, by neuron.
    """

    thresholds: Tensor

    def __init__(self, neurons: int, keep: float = 0.9, inhibition: float = 4.0, threshold: float = 1.0) -> None:
        super().__init__()
        if neurons < 1 or not (0.0 < keep <= 1.0 and inhibition >= 0.0 and threshold > 0.0):
            raise SnnhwError(
                "bad-network",
                "the competing neurons cannot be built",
                where="Competing",
                needed=f"neurons={neurons}, keep={keep}, inhibition={inhibition}, threshold={threshold}",
                limit="neurons >= 1, 0 < keep <= 1, inhibition >= 0, threshold > 0",
                hint="for example neurons=100, keep=0.9, inhibition=4.0, threshold=1.0",
            )
        self.keep, self.inhibition, self.threshold = float(keep), float(inhibition), float(threshold)
        self.register_buffer("thresholds", torch.full((neurons,), self.threshold))

    def charged(self, v: Tensor, spikes: Tensor, x: Tensor) -> Tensor:
        """h of a step, from v and the spikes of the step before, ``[..., neurons]``."""
        return self.keep * v + x - self.inhibition * (spikes.sum(-1, keepdim=True) - spikes)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (0 or 1, dtype of x)."""
        v, spikes, found = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
        for current in x.unbind(0):
            h = self.charged(v, spikes, current)
            spikes = (h >= self.thresholds).to(x.dtype)
            v = h * (1 - spikes)
            found.append(spikes)
        return torch.stack(found)

    def inhibiting(self) -> Tensor:
        """The lateral weights ``[neurons, neurons]`` float64: ``-inhibition`` between any two."""
        size = len(self.thresholds)
        return self.inhibition * (torch.eye(size, dtype=torch.float64) - 1)

    def extra_repr(self) -> str:
        """The layer's numbers in ``repr``."""
        return f"neurons={len(self.thresholds)}, keep={self.keep:g}, inhibition={self.inhibition:g}"


class StdpNet(nn.Module):
    """Input spikes ``[T, N, ...]`` through one layer of competing neurons to class scores ``[T, N, classes]``.

    A class's score is the mean of the spikes of its neurons: those that answer to it most (`stdp.assign`). Nothing in
    it is trained by gradients.

    Args:
        inputs: values of a sample.
        neurons: that compete.
        classes: scores.
        keep: see `Competing`.
        inhibition: see `Competing`.
        threshold: see `Competing`.
        total: sum of the weights of each competing neuron, which STDP keeps.
    """

    def __init__(
        self,
        inputs: int = 64,
        neurons: int = 200,
        classes: int = 10,
        keep: float = 0.9,
        inhibition: float = 4.0,
        threshold: float = 1.0,
        total: float = 2.0,
    ) -> None:
        super().__init__()
        if inputs < 1 or classes < 1 or not total > 0.0:
            raise SnnhwError(
                "bad-network",
                "the STDP network cannot be built",
                where="StdpNet",
                needed=f"inputs={inputs}, classes={classes}, total={total}",
                limit="inputs >= 1, classes >= 1, total > 0",
                hint="for example inputs=64, classes=10, total=2.0",
            )
        self.currents = PerStep(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(inputs, neurons, bias=False)))
        self.neurons = Competing(neurons, keep, inhibition, threshold)
        self.scores = PerStep(OrderedDict(groups=nn.Linear(neurons, classes, bias=False)))
        self.requires_grad_(False)
        self.weight.uniform_()
        self.weight.mul_(total / self.weight.sum(1, keepdim=True))
        self.groups.zero_()

    @property
    def weight(self) -> Tensor:
        """Of the synapses from the input, ``[neurons, inputs]``."""
        return self.currents.get_parameter("fc.weight")

    @property
    def groups(self) -> Tensor:
        """How much each neuron counts for each class, ``[classes, neurons]``."""
        return self.scores.get_parameter("groups.weight")

    def responses(self, x: Tensor) -> Tensor:
        """Spikes of the competing neurons, ``[T, N, neurons]``."""
        out: Tensor = self.neurons(self.currents(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """x ``[T, N, ...]`` to scores ``[T, N, classes]``."""
        out: Tensor = self.scores(self.responses(x))
        return out
