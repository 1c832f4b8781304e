"""Unsupervised learning by spike-timing-dependent plasticity, after Diehl and Cook 2015; labels come in afterwards.

One sample after the other, one step after the other. Of the neurons that spike at a step the one furthest above its
threshold learns: its synapses grow by the trace of their input's spikes (each pair of spikes by its distance in time),
and are then scaled to the sum they had (weight normalisation), so that those whose input was silent shrink. Every
neuron that spikes becomes harder to excite, and all become easier to excite with time (homeostasis). The rest is
`Competing`, step by step.

This happens on the host, before compilation: weights and thresholds are frozen in the checkpoint. Learning on the chip
is not modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from snnhw.zoo.competition import StdpNet
from snnhw.zoo.datasets import Split
from snnhw.zoo.encode import encode, scale
from snnhw.zoo.recipe import Recipe

Advance = Callable[[], None]

TOGETHER = 250
"""Samples at once where nothing is learnt."""


@dataclass(frozen=True)
class Plasticity:
    """What learns how fast.

    Args:
        trace: what the trace of an input's spikes keeps per step; a spike sets it to 1.
        rise: of a neuron's threshold with each of its spikes.
        decay: share of its rise that a threshold loses per step.
    """

    trace: float = 0.8
    rise: float = 0.1
    decay: float = 3e-5


@torch.no_grad()
def learn(model: StdpNet, x: Tensor, rate: float, calm: float, rule: Plasticity) -> None:
    """One sample, in place: x spikes ``[T, inputs]``, rate of learning, and the factor (0..1) of what thresholds do."""
    weight, layer = model.weight, model.neurons
    raised = layer.thresholds - layer.threshold
    v, spikes, trace = torch.zeros_like(raised), torch.zeros_like(raised), torch.zeros_like(x[0])
    for step in x.unbind(0):
        trace = torch.maximum(rule.trace * trace, step)
        h = layer.charged(v, spikes, weight @ step)
        above = h - (layer.threshold + raised)
        spikes = (above >= 0).to(h.dtype)
        v = h * (1 - spikes)
        raised *= 1 - rule.decay * calm
        winner = int(above.argmax())
        if spikes[winner]:
            row = weight[winner]
            total = row.sum()
            row += rate * trace
            row *= total / row.sum()
            raised += rule.rise * calm * spikes
    layer.thresholds.copy_(layer.threshold + raised)


@torch.no_grad()
def epoch(
    model: StdpNet, recipe: Recipe, data: Split, number: int, generator: torch.Generator, advance: Advance
) -> dict[str, float]:
    """One pass over the training samples without their labels, then the groups anew from the labels.

    Args:
        number: of the epoch, from 0.
        generator: of the order of samples and of their spikes.
        advance: called after every sample.
    """
    rule, count = Plasticity(**recipe.learning), len(data.y_train)
    for index, row in enumerate(torch.randperm(count, generator=generator).tolist()):
        x = encode(scale(data.x_train[row : row + 1]), recipe.encoding, recipe.steps, generator)
        rate = recipe.lr_at((number + index / count) / recipe.epochs)
        learn(model, x.flatten(1), rate, rate / recipe.lr, rule)
        advance()
    responses = torch.cat([
        model.responses(encode(scale(part), recipe.encoding, recipe.steps, generator)).sum(0)
        for part in torch.split(data.x_train, TOGETHER)
    ])  # fmt: skip
    model.groups.copy_(assign(responses, data.y_train, data.classes))
    found = (responses @ model.groups.T).argmax(1)
    return {"steps": recipe.steps, "train_accuracy": float((found == data.y_train).double().mean())}


def assign(responses: Tensor, y: Tensor, classes: int) -> Tensor:
    """Weights ``[classes, neurons]`` of the readout: 1 / size of a class's group for its neurons, else 0.

    Each neuron belongs to the class to whose samples it answers with most spikes in the mean (the lowest on ties); one
    that never spikes belongs to none.

    Args:
        responses: spikes over T, ``[N, neurons]``.
        y: labels ``[N]``.
        classes: their number.
    """
    means = torch.stack([responses[y == label].sum(0) / max(1, int((y == label).sum())) for label in range(classes)])
    member = torch.nn.functional.one_hot(means.argmax(0), classes).T * (means.amax(0) > 0)
    return member / member.sum(1, keepdim=True).clamp(min=1)
