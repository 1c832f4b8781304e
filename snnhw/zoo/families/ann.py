"""ReLU networks that are trained as such and deployed as spiking networks by conversion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from snnhw.zoo.ann import AnnCnn
from snnhw.zoo.containers import PerStep
from snnhw.zoo.conversion import KIND, ConvertedAnn
from snnhw.zoo.recipe import Recipe


def ann_cnn(**config: Any) -> nn.Module:
    """The ReLU network over ``[T, N, ...]`` as training has it (T = 1)."""
    return PerStep(OrderedDict(ann=AnnCnn(**config)))


KINDS: dict[str, Callable[..., nn.Module]] = {"ann_cnn": ann_cnn, KIND: ConvertedAnn}

_ANN: Any = {"kind": "ann_cnn", "encoding": "direct", "readout": "mean", "loss": "cross_entropy", "steps": 1}

RECIPES = (
    Recipe(
        name="ann_cnn",
        **_ANN,
        epochs=6,
        batch=100,
        lr=3e-3,
        weight_decay=1e-2,
        shift=1,
        convert_steps=32,
        config={"channels": [16, 32, 64], "blocks": [0, 1, 0]},
    ),
    Recipe(
        name="ann_cnn_smoke",
        **_ANN,
        epochs=2,
        batch=50,
        lr=5e-3,
        dataset="examples",
        convert_steps=8,
        config={"channels": [4, 8], "blocks": [1, 0]},
    ),
)
