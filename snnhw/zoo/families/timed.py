"""Temporal codes: SpikeProp (Bohte et al. 2002) and ReL-PSP (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.recipe import Recipe
from snnhw.zoo.relpsp import RelPsp
from snnhw.zoo.spikeprop import SpikeProp

KINDS: dict[str, Callable[..., nn.Module]] = {"spikeprop": SpikeProp, "relpsp": RelPsp}

_COMMON: Any = {"readout": "first", "optimizer": "adam", "flip": False}
_SPIKEPROP: Any = {**_COMMON, "kind": "spikeprop", "loss": "spike_time_error"}
_XOR: Any = {**_SPIKEPROP, "encoding": "spikes", "dataset": "xor", "steps": 32, "batch": 8}
_IRIS: Any = {**_SPIKEPROP, "encoding": "latency", "dataset": "iris", "steps": 32, "batch": 10}
_RELPSP: Any = {**_COMMON, "kind": "relpsp", "loss": "first_cross_entropy"}
_DIGITS: Any = {**_RELPSP, "encoding": "latency", "dataset": "digits", "batch": 50}

_XOR_NET: Any = {"inputs": 3, "hidden": 5, "classes": 2, "delays": list(range(1, 17)), "targets": [10, 16]}
_IRIS_NET: Any = {"inputs": 32, "hidden": 8, "classes": 3, "delays": [1, 3, 5, 7, 9, 11, 13, 15], "targets": [14, 20]}
_DIGITS_NET: Any = {"inputs": 64, "hidden": [64], "classes": 10}

RECIPES = (
    Recipe(name="spikeprop_xor", **_XOR, epochs=50, lr=1e-2, config=_XOR_NET),
    Recipe(name="spikeprop_xor_smoke", **_XOR, epochs=2, lr=1e-2, config={**_XOR_NET, "delays": [1, 4, 8, 12]}),
    Recipe(name="spikeprop_iris", **_IRIS, epochs=40, lr=5e-3, config=_IRIS_NET),
    Recipe(name="spikeprop_iris_smoke", **_IRIS, epochs=2, lr=5e-3, config={**_IRIS_NET, "hidden": 3}),
    Recipe(name="relpsp_digits", **_DIGITS, steps=32, epochs=20, lr=5e-3, config=_DIGITS_NET),
    Recipe(name="relpsp_digits_smoke", **_DIGITS, steps=16, epochs=2, lr=5e-3, config={**_DIGITS_NET, "hidden": [8]}),
)
