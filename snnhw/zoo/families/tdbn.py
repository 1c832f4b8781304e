"""STBP-tdBN (Zheng et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.tdbn import TdbnResNet, tdbn_resnet19, tdbn_resnet34, tdbn_resnet50

KINDS: dict[str, Callable[..., nn.Module]] = {
    "tdbn_resnet": TdbnResNet,
    "tdbn_resnet19": tdbn_resnet19,
    "tdbn_resnet34": tdbn_resnet34,
    "tdbn_resnet50": tdbn_resnet50,
}

_TDBN: Any = {"kind": "tdbn_resnet", "encoding": "direct", "readout": "rate", "loss": "rate_mse"}

RECIPES = (
    Recipe(
        name="tdbn_resnet",
        **_TDBN,
        steps=8,
        deploy_steps=12,
        short_steps=2,
        short_epochs=3,
        epochs=4,
        batch=100,
        lr=4e-3,
        weight_decay=1e-2,
        shift=1,
        config={"in_channels": 1, "channels": [16, 32, 64], "blocks": [1, 1, 1], "stem": 16, "hidden": 64},
    ),
    Recipe(
        name="tdbn_resnet_smoke",
        **_TDBN,
        steps=2,
        epochs=2,
        batch=50,
        lr=5e-3,
        dataset="examples",
        config={"in_channels": 1, "channels": [4, 8], "blocks": [1, 1], "stem": 4, "hidden": 8},
    ),
)
