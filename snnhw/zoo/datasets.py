"""Training and test images as tensors, by the name a recipe gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SnnhwError
from snnhw.shipped import shipped_folder
from snnhw.zoo.data import load_fashion_mnist

SHIPPED = shipped_folder("examples") / "fashion_mnist_500.npz"


@dataclass(frozen=True)
class Split:
    """uint8 images ``[n, C, H, W]`` and int64 labels ``[n]``."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int = 10


def dataset_of(name: str) -> Split:
    """``fashion_mnist``: the whole of it; ``examples``: the 500 shipped images, 100 of them to test."""
    if name == "fashion_mnist":
        (x, y), (x_test, y_test) = load_fashion_mnist("train"), load_fashion_mnist("test")
        return Split(torch.tensor(x), torch.tensor(y), torch.tensor(x_test), torch.tensor(y_test))
    if name == "examples":
        return _shipped(SHIPPED)
    raise SnnhwError(
        "unknown-dataset",
        "no data set of that name",
        where="recipe",
        needed=repr(name),
        limit="fashion_mnist, examples",
        hint="pick one of these, or pass data= to train",
    )


def _shipped(path: Path) -> Split:
    if not path.is_file():
        raise SnnhwError(
            "dataset-missing",
            "the shipped example images are not there",
            where=str(path),
            needed="examples/fashion_mnist_500.npz of the repository",
            hint="install snnhw again",
        )
    with np.load(path) as file:
        x, y = torch.tensor(file["x"]), torch.tensor(file["y"])
    return Split(x[:400], y[:400], x[400:], y[400:])
