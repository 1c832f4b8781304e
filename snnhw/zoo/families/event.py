"""Event networks of SEW ResNet (Fang et al. 2021), trained on N-MNIST: 34x34 pixels survive five pools of the seven."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.event_net import EventNet, SevenBNet, WideSevenBNet
from snnhw.zoo.recipe import Recipe

KINDS: dict[str, Callable[..., nn.Module]] = {
    "event_net": EventNet,
    "seven_b_net": SevenBNet,
    "wide_seven_b_net": WideSevenBNet,
}

_EVENT: Any = {"encoding": "spikes", "readout": "mean", "loss": "cross_entropy", "flip": False}
_NMNIST: Any = {"image_size": 34, "classes": 10, "pools": [2, 2, 1, 2, 1, 2, 2]}
_SMALL: Any = {"image_size": 34, "classes": 10, "pools": [4, 4, 2, 1, 1, 1, 1]}

RECIPES = (
    Recipe(
        name="seven_b_net",
        kind="seven_b_net",
        **_EVENT,
        steps=10,
        train_steps=8,
        epochs=20,
        batch=25,
        lr=3e-3,
        weight_decay=1e-2,
        dataset="nmnist",
        config={"channels": 16, **_NMNIST},
    ),
    Recipe(
        name="wide_seven_b_net",
        kind="wide_seven_b_net",
        **_EVENT,
        steps=10,
        train_steps=8,
        epochs=16,
        batch=25,
        lr=3e-3,
        weight_decay=1e-2,
        dataset="nmnist",
        config={"channels": [16, 32], **_NMNIST},
    ),
    Recipe(
        name="seven_b_net_smoke",
        kind="seven_b_net",
        **_EVENT,
        steps=10,
        train_steps=4,
        epochs=2,
        batch=20,
        lr=5e-3,
        dataset="events_smoke",
        config={"channels": 4, **_SMALL},
    ),
    Recipe(
        name="wide_seven_b_net_smoke",
        kind="wide_seven_b_net",
        **_EVENT,
        steps=10,
        train_steps=4,
        epochs=2,
        batch=20,
        lr=5e-3,
        dataset="events_smoke",
        config={"channels": [4, 6], **_SMALL},
    ),
    *(
        Recipe(
            name=name,
            kind=kind,
            **_EVENT,
            steps=16,
            train_steps=12,
            epochs=epochs,
            batch=16,
            lr=1e-3,
            optimizer="adam",
            dataset=dataset,
        )
        for name, kind, dataset, epochs in (
            ("seven_b_net_dvsgesture", "seven_b_net", "dvs_gesture", 192),
            ("wide_seven_b_net_cifar10dvs", "wide_seven_b_net", "cifar10_dvs", 64),
        )
    ),
)
