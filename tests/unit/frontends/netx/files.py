"""Small `.net` files as slayer writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

NEURON = {"type": "CUBA", "iDecay": 1024, "vDecay": 512, "vThMant": 20, "refDelay": 1, "gradedSpike": False}


def neuron(**changes: Any) -> dict[str, Any]:
    """Datasets of a CUBA neuron."""
    return {f"neuron/{key}": value for key, value in (NEURON | changes).items()}


def layer(kind: str, shape: Any, **fields: Any) -> dict[str, Any]:
    """Datasets of one layer; `None` leaves one out."""
    said = {"type": np.array([kind.encode()], "S10"), "shape": np.array(shape), **fields}
    return {key: value for key, value in said.items() if value is not None}


def dense(weight: Any, **fields: Any) -> dict[str, Any]:
    """A dense layer with neurons."""
    weight = np.asarray(weight, np.float32)
    return layer("dense", (len(weight),), **{"weight": weight, **neuron(), **fields})


def conv(weight: Any, shape: Any, **fields: Any) -> dict[str, Any]:
    """A convolution with neurons."""
    return layer("conv", shape, **{"weight": np.asarray(weight, np.float32), **neuron(), **fields})


def written(path: Path, *layers: dict[str, Any], steps: int | None = 12) -> Path:
    """The file."""
    with h5py.File(path, "w") as file:
        for index, fields in enumerate(layers):
            for key, value in fields.items():
                file[f"layer/{index}/{key}"] = value
        if steps is not None:
            file["simulation/Ts"] = 1
            file["simulation/tSample"] = steps
    return path


def even(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    """Weights as slayer's 8 bits make them."""
    return np.asarray(rng.integers(-40, 41, shape) * 2)


def matrix(name: str, path: Path) -> Path:
    """A named network; each has something the others do not."""
    rng = np.random.default_rng(7)
    plain = layer("input", (8,))
    image = layer("input", (2, 7, 6))
    return written(path, *NETWORKS[name](rng, plain, image))


NETWORKS: dict[str, Any] = {
    "dense": lambda r, p, i: (p, dense(even(r, 9, 8), bias=r.integers(-9, 9, 9)), dense(even(r, 4, 9))),
    "sum": lambda r, p, i: (p, dense(even(r, 9, 8)), layer("dense", (3,), weight=even(r, 3, 9))),
    "leaky readout": lambda r, p, i: (p, dense(even(r, 9, 8)), dense(even(r, 3, 9), **neuron(vThMant=(1 << 18) - 1))),
    "axonal delays": lambda r, p, i: (
        p,
        dense(even(r, 9, 8), delay=r.integers(0, 5, 9).astype(float), bias=r.integers(-9, 9, 9)),
        dense(even(r, 4, 9), delay=2),
    ),
    "input delays": lambda r, p, i: (
        p,
        dense(even(r, 9, 8), delay=r.integers(0, 5, 8).astype(float)),
        dense(even(r, 4, 9)),
    ),
    "synaptic delays": lambda r, p, i: (p, dense(even(r, 9, 8), delay=r.integers(0, 6, (9, 8))), dense(even(r, 4, 9))),
    "recurrent": lambda r, p, i: (
        p,
        layer("dense_rec", (9,), weight=even(r, 9, 8), weight_rec=even(r, 9, 9), bias=r.integers(-5, 9, 9), **neuron()),
        dense(even(r, 4, 9)),
    ),
    "odd weights": lambda r, p, i: (p, dense(r.integers(-100, 120, (9, 8))), dense(r.integers(0, 127, (4, 9)))),
    "one sign": lambda r, p, i: (p, dense(r.integers(0, 128, (9, 8))), dense(r.integers(-127, 0, (4, 9)))),
    "conv": lambda r, p, i: (
        i,
        conv(
            even(r, 3, 2, 3, 2)[..., None],
            (3, 4, 5),
            stride=[2, 1],
            padding=[1, 0],
            dilation=[1, 1],
            groups=1,
            bias=r.integers(-9, 9, 3),
        ),
        conv(even(r, 4, 3, 3, 3), (4, 2, 1), stride=1, padding=0, dilation=[1, 2], groups=1),
        layer("flatten", (8, 1, 1)),
        dense(even(r, 5, 8)),
    ),
    "wide conv weights": lambda r, p, i: (
        i,
        conv(even(r, 3, 2, 3, 3) * 3, (3, 5, 4), stride=1, padding=0, dilation=1, groups=1),
        layer("flatten", (60, 1, 1)),
        dense(even(r, 5, 60)),
    ),
    "full bias": lambda r, p, i: (
        i,
        conv(
            even(r, 3, 2, 3, 3), (3, 5, 4), stride=1, padding=0, dilation=1, groups=1, bias=r.integers(-9, 9, (4, 5, 3))
        ),
    ),
    "groups": lambda r, p, i: (
        i,
        conv(even(r, 4, 1, 3, 3), (4, 5, 4), stride=1, padding=0, dilation=1, groups=2),
    ),
    "input neurons": lambda r, p, i: (
        layer("input", (2, 7, 6), weight=np.float32([40.0]), bias=np.float32([12.0]), **neuron(vThMant=30)),
        conv(even(r, 3, 2, 3, 3), (3, 5, 4), stride=1, padding=0, dilation=1, groups=1, bias=r.integers(-9, 9, 3)),
        layer("flatten", (60, 1, 1)),
        dense(even(r, 5, 60)),
    ),
}
"""Name -> layers, of networks that netx runs."""
