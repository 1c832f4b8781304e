"""SEW ResNet (Fang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.resnet import sew_resnet
from snnhw.zoo.sew import SewResNet

KINDS: dict[str, Callable[..., nn.Module]] = {"sew_resnet": SewResNet, "sew_resnet_imagenet": sew_resnet}

_SEW: Any = {"kind": "sew_resnet", "encoding": "direct", "readout": "mean", "loss": "cross_entropy"}
_SHORT: Any = {
    **_SEW,
    "steps": 4,
    "epochs": 9,
    "batch": 50,
    "lr": 6e-3,
    "weight_decay": 1e-2,
    "dataset": "fashion_mnist_10k",
}
_SMOKE: Any = {**_SEW, "steps": 2, "epochs": 2, "batch": 50, "lr": 5e-3, "dataset": "examples"}
_SMALL: Any = {"channels": [16, 32, 64], "blocks": [1, 1, 1], "surrogate": "atan"}
_TINY: Any = {"channels": [4, 8], "blocks": [1, 1]}

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
    Recipe(name="sew_resnet_smoke", **_SMOKE, config=_TINY),
    # AND starts as the identity: with random branches a product of spikes falls silent with depth.
    Recipe(name="sew_and", **_SHORT, config={**_SMALL, "connect": "AND", "zero_init": True}),
    Recipe(name="sew_and_smoke", **_SMOKE, config={**_TINY, "connect": "AND", "zero_init": True}),
    Recipe(name="sew_iand", **_SHORT, config={**_SMALL, "connect": "IAND"}),
    Recipe(name="sew_iand_smoke", **_SMOKE, config={**_TINY, "connect": "IAND"}),
)
