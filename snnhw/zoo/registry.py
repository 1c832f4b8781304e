"""The networks by kind, and the recipes that train them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from snnhw.errors import SnnhwError
from snnhw.zoo.sew import SewResNet
from snnhw.zoo.stbp import StbpScnn

KINDS: dict[str, Callable[..., nn.Module]] = {"stbp_scnn": StbpScnn, "sew_resnet": SewResNet}


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, except the seed.

    ``steps`` is T of the deployed network and of training; the first ``short_epochs`` epochs train at
    ``short_steps`` instead. The learning rate rises linearly to ``lr`` over ``warmup`` (a fraction of the
    run) and falls as a half cosine to ``lr / 100``.
    """

    name: str
    kind: str
    steps: int
    encoding: str
    readout: str
    loss: str
    epochs: int
    batch: int
    lr: float
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    warmup: float = 0.1
    short_steps: int = 0
    short_epochs: int = 0
    flip: bool = True
    shift: int = 0
    label_smoothing: float = 0.0
    dataset: str = "fashion_mnist"
    config: dict[str, Any] = field(default_factory=dict)

    def steps_at(self, epoch: int) -> int:
        """T of training in that epoch (from 0)."""
        return self.short_steps if epoch < self.short_epochs else self.steps

    def lr_at(self, fraction: float) -> float:
        """Learning rate when that fraction (0..1) of the whole run is done."""
        if fraction < self.warmup:
            return self.lr * max(fraction / self.warmup, 0.01)
        phase = (fraction - self.warmup) / (1.0 - self.warmup)
        return self.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))


_STBP: Any = {"kind": "stbp_scnn", "encoding": "bernoulli", "readout": "rate", "loss": "rate_mse"}
_SEW: Any = {"kind": "sew_resnet", "encoding": "direct", "readout": "mean", "loss": "cross_entropy"}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="stbp_scnn",
            **_STBP,
            steps=20,
            short_steps=8,
            short_epochs=11,
            epochs=13,
            batch=100,
            lr=1.5e-3,
            weight_decay=1e-2,
            config={"channels": [32, 32], "hidden": 128, "surrogate": "rectangular"},
        ),
        Recipe(
            name="sew_resnet",
            **_SEW,
            steps=4,
            epochs=7,
            batch=100,
            lr=4e-3,
            weight_decay=1e-2,
            shift=1,
            config={"channels": [16, 32, 64], "blocks": [2, 2, 2], "connect": "ADD", "surrogate": "atan"},
        ),
        Recipe(
            name="stbp_scnn_smoke",
            **_STBP,
            steps=4,
            epochs=2,
            batch=50,
            lr=5e-3,
            dataset="examples",
            config={"channels": [4, 4], "hidden": 16},
        ),
        Recipe(
            name="sew_resnet_smoke",
            **_SEW,
            steps=2,
            epochs=2,
            batch=50,
            lr=5e-3,
            dataset="examples",
            config={"channels": [4, 8], "blocks": [1, 1]},
        ),
    )
}


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """The untrained network of that kind; ``config`` holds the constructor's arguments."""
    if kind not in KINDS:
        raise _unknown("network", kind, KINDS)
    try:
        return KINDS[kind](**config)
    except TypeError as error:
        raise SnnhwError(
            "bad-network",
            "the network does not take this configuration",
            where=f"{kind} config",
            needed=", ".join(sorted(config)),
            limit=str(error),
            hint=f"see the constructor's arguments: help(snnhw.zoo.registry.KINDS[{kind!r}])",
        ) from error


def recipe_of(recipe: str | Recipe) -> Recipe:
    """The shipped recipe of that name, or the recipe itself."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise _unknown("recipe", recipe, RECIPES)
    return RECIPES[recipe]


def _unknown(what: str, name: str, known: dict[str, Any]) -> SnnhwError:
    return SnnhwError(
        f"unknown-{what}",
        f"no {what} of that name",
        where=what,
        needed=repr(name),
        limit="one of " + ", ".join(sorted(known)),
        hint="pick one of these",
    )
