"""Training and test samples as tensors, by the name a recipe gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SnnhwError
from snnhw.shipped import shipped_folder
from snnhw.zoo import event_data, small_data
from snnhw.zoo.data import load_fashion_mnist

SHIPPED = shipped_folder("examples") / "fashion_mnist_500.npz"


@dataclass(frozen=True)
class Split:
    """uint8 images ``[n, C, H, W]`` or, where ``sequence``, integers ``[n, T, ...]``; int64 labels ``[n]``."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int = 10
    sequence: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one step."""
        return tuple(self.x_train.shape[2 if self.sequence else 1 :])


def fashion_mnist(training: int = 60_000) -> Split:
    """Fashion-MNIST with the first so many training images."""
    (x, y), (x_test, y_test) = load_fashion_mnist("train"), load_fashion_mnist("test")
    train = torch.tensor(x[:training]), torch.tensor(y[:training])
    return Split(*train, torch.tensor(x_test), torch.tensor(y_test))


def examples() -> Split:
    """The 500 shipped images of Fashion-MNIST, 100 of them to test."""
    path = SHIPPED
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


DATASETS: dict[str, Callable[[], Split]] = {
    "fashion_mnist": fashion_mnist,
    "fashion_mnist_10k": lambda: fashion_mnist(10_000),
    "examples": examples,
    "xor": lambda: Split(*small_data.xor(), classes=2, sequence=True),
    "iris": lambda: Split(*small_data.iris(), classes=3),
    "digits": lambda: Split(*small_data.digits()),
    "nmnist": lambda: Split(*event_data.nmnist(), sequence=True),
    "events_smoke": lambda: Split(*event_data.events_smoke(), sequence=True),
    "dvs_gesture": lambda: Split(*event_data.dvs_gesture(), classes=11, sequence=True),
    "cifar10_dvs": lambda: Split(*event_data.cifar10_dvs(), sequence=True),
}


def dataset_of(name: str) -> Split:
    """The data set of that name."""
    if name not in DATASETS:
        raise SnnhwError(
            "unknown-dataset",
            "no data set of that name",
            where="recipe",
            needed=repr(name),
            limit=", ".join(sorted(DATASETS)),
            hint="pick one of these, or pass data= to train",
        )
    return DATASETS[name]()
