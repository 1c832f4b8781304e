"""SEW ResNet (Fang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.sew import SewResNet

KINDS: dict[str, Callable[..., nn.Module]] = {"sew_resnet": SewResNet}

_SEW: Any = {"kind": "sew_resnet", "encoding": "direct", "readout": "mean", "loss": "cross_entropy"}

RECIPES = (
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
