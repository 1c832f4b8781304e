"""A tiny checkpoint of the zoo with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from snnhw.zoo.checkpoint import FORMAT, VERSION
from snnhw.zoo.registry import build

CONFIGS: dict[str, dict[str, Any]] = {
    "stbp_scnn": {"channels": [2, 3], "hidden": 5, "image_size": 8, "classes": 4},
    "sew_resnet": {"channels": [2, 3], "blocks": [1, 1], "image_size": 8, "classes": 4},
}


def content(kind: str = "stbp_scnn", gain: float = 3.0) -> dict[str, Any]:
    """Weights are multiplied by `gain`, or untrained networks would stay silent."""
    torch.manual_seed(1)
    module = build(kind, CONFIGS[kind])
    model = {key: value * gain if key.endswith("weight") else value for key, value in module.state_dict().items()}
    spiking = kind == "stbp_scnn"
    return {
        "format": FORMAT,
        "version": VERSION,
        "recipe": "tiny",
        "network": {"kind": kind, "config": CONFIGS[kind]},
        "model": model,
        "deploy": {
            "steps": 4,
            "encoding": "bernoulli" if spiking else "direct",
            "readout": "rate" if spiking else "mean",
            "input_shape": [1, 8, 8],
            "classes": 4,
            "preprocessing": "uint8/255",
        },
        "seed": 0,
        "epoch": 0,
        "calibration": {"x": torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)},
    }


def saved(path: Path, parts: Any) -> Path:
    torch.save(parts, path)
    return path
