"""What SEW ResNet is compared with: Spiking ResNet and the plain network (Fang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.resnet import spiking_resnet
from snnhw.zoo.spiking_resnet import PlainNet, SpikingResNet

KINDS: dict[str, Callable[..., nn.Module]] = {
    "spiking_resnet": SpikingResNet,
    "plain_net": PlainNet,
    "spiking_resnet_imagenet": spiking_resnet,
}

_COMMON: Any = {"encoding": "direct", "readout": "mean", "loss": "cross_entropy"}
_SHORT: Any = {
    **_COMMON,
    "steps": 4,
    "epochs": 5,
    "batch": 50,
    "lr": 6e-3,
    "weight_decay": 1e-2,
    "dataset": "fashion_mnist_10k",
    "config": {"channels": [16, 32, 64], "blocks": [1, 1, 1], "surrogate": "atan"},
}
_SMOKE: Any = {
    **_COMMON,
    "steps": 2,
    "epochs": 2,
    "batch": 50,
    "lr": 5e-3,
    "dataset": "examples",
    "config": {"channels": [4, 8], "blocks": [1, 1]},
}

RECIPES = (
    Recipe(name="spiking_resnet", kind="spiking_resnet", **_SHORT),
    Recipe(name="spiking_resnet_smoke", kind="spiking_resnet", **_SMOKE),
    Recipe(name="plain_net", kind="plain_net", **_SHORT),
    Recipe(name="plain_net_smoke", kind="plain_net", **_SMOKE),
)
