"""STBP (Wu et al. 2018), with its rectangular surrogate and with Dspike (Li et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.stbp import StbpScnn

KINDS: dict[str, Callable[..., nn.Module]] = {"stbp_scnn": StbpScnn}

_STBP: Any = {"kind": "stbp_scnn", "encoding": "bernoulli", "readout": "rate", "loss": "rate_mse"}

RECIPES = (
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
        name="stbp_dspike",
        **_STBP,
        steps=20,
        short_steps=8,
        short_epochs=7,
        epochs=8,
        batch=100,
        lr=3e-3,
        weight_decay=1e-2,
        dataset="fashion_mnist_10k",
        config={"channels": [16, 16], "hidden": 64, "surrogate": "dspike"},
    ),
    Recipe(
        name="stbp_dspike_smoke",
        **_STBP,
        steps=4,
        epochs=2,
        batch=50,
        lr=5e-3,
        dataset="examples",
        config={"channels": [4, 4], "hidden": 16, "surrogate": "dspike"},
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
)
