"""Losses by name: what a recipe minimises, and the classes it predicts, of outputs ``[T, N, classes]``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.zoo.recipe import Recipe
from snnhw.zoo.spike_times import first_cross_entropy, spike_time_error

Objective = Callable[[Recipe, nn.Module, Tensor, Tensor], Tensor]
"""``objective(recipe, model, output, y)`` gives the scalar loss."""


def rate_mse(recipe: Recipe, model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    """STBP: half the squared distance of firing rates and one-hot labels, summed over classes, mean over N."""
    mean = output.mean(0)
    target = functional.one_hot(y, mean.shape[1]).to(mean.dtype)
    return 0.5 * (target - mean).square().sum(1).mean()


def cross_entropy(recipe: Recipe, model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of outputs averaged over T."""
    return functional.cross_entropy(output.mean(0), y, label_smoothing=recipe.label_smoothing)


OBJECTIVES: dict[str, Objective] = {
    "rate_mse": rate_mse,
    "cross_entropy": cross_entropy,
    "first_cross_entropy": first_cross_entropy,
    "spike_time_error": spike_time_error,
}


def loss_of(recipe: Recipe, model: nn.Module, output: Tensor, y: Tensor) -> Tensor:
    """The recipe's loss of outputs ``[T, N, classes]`` and labels ``[N]``."""
    if recipe.loss not in OBJECTIVES:
        raise SnnhwError(
            "unknown-loss",
            "no loss of that name",
            where="recipe",
            needed=repr(recipe.loss),
            limit=", ".join(sorted(OBJECTIVES)),
            hint="correct the recipe",
        )
    return OBJECTIVES[recipe.loss](recipe, model, output, y)


def decode(output: Tensor, readout: str) -> Tensor:
    """Predicted classes ``[N]`` of outputs ``[T, N, classes]``: lowest class on ties.

    ``rate`` and ``mean``: largest sum over T. ``first``: earliest spike; a silent class counts as step T.
    """
    if readout != "first":
        return output.mean(0).argmax(1)
    steps = torch.arange(output.shape[0], device=output.device).view(-1, 1, 1)
    times = torch.where(output > 0, steps, output.shape[0]).amin(0)
    return times.argmin(1)
