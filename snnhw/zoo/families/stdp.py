"""Unsupervised STDP with homeostasis (after Diehl and Cook 2015); learnt on the host, not on the chip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.competition import StdpNet
from snnhw.zoo.recipe import Recipe

KINDS: dict[str, Callable[..., nn.Module]] = {"stdp_net": StdpNet}

_STDP: Any = {
    "kind": "stdp_net",
    "encoding": "bernoulli",
    "readout": "mean",
    "loss": "none",
    "optimizer": "stdp",
    "batch": 1,
    "warmup": 0.0,
    "flip": False,
    "dataset": "digits",
}

RECIPES = (
    Recipe(name="stdp_digits", **_STDP, steps=32, epochs=6, lr=0.02, config={"inputs": 64, "neurons": 200}),
    Recipe(
        name="stdp_digits_smoke",
        **_STDP,
        steps=16,
        epochs=2,
        lr=0.05,
        config={"inputs": 64, "neurons": 20},
        learning={"rise": 0.03},
    ),
)
