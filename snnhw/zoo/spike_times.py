"""Losses on the first spike times of output neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.zoo.recipe import Recipe


def spike_times(spikes: Tensor) -> Tensor:
    """Step of the one spike in each column of ``[T, N, ...]`` as ``[N, ...]``, T for silence; carries gradients."""
    steps = torch.arange(spikes.shape[0], device=spikes.device, dtype=spikes.dtype)
    left = steps - spikes.shape[0]
    return spikes.shape[0] + (spikes * left.view(-1, *[1] * (spikes.dim() - 1))).sum(0)


def first_cross_entropy(recipe: Recipe, model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    """ReL-PSP: ``-ln(exp(-t_y) / sum_j exp(-t_j))`` of spike times in steps, mean over N."""
    return functional.cross_entropy(-spike_times(output), y, label_smoothing=recipe.label_smoothing)


def spike_time_error(recipe: Recipe, model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    """SpikeProp: ``1/2 sum_j (t_j - wanted_j)^2``, mean over N.

    The network says when: ``model.targets`` is the step wanted of the right class, and that of all others.
    """
    targets: Any = getattr(model, "targets", None)
    if targets is None:
        raise SnnhwError(
            "no-targets",
            "the loss spike_time_error needs the spike times wanted",
            where=type(model).__name__,
            limit="an attribute targets: step of the right class, step of the others",
            hint="use a SpikeProp network, or the loss first_cross_entropy",
        )
    right, others = targets
    own = functional.one_hot(y, output.shape[2]).to(output.dtype)
    wanted = own * right + (1.0 - own) * others
    error: Tensor = 0.5 * (spike_times(output) - wanted).square().sum(1).mean()
    return error
