"""Small data sets for temporal codes: XOR in spike times, iris and digits from scikit-learn."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnhw.extras import require

XOR_STEPS = 32
XOR_LATE = 6
FIELDS = 8
"""Gaussian receptive fields that code one measure of iris."""

Parts = tuple[Tensor, Tensor, Tensor, Tensor]
"""x_train, y_train, x_test, y_test."""


def xor() -> Parts:
    """The four patterns of XOR, ``[n, T, 3]`` spikes; 32 copies of each to train on, one to test.

    SpikeProp's coding: a 1 spikes at step 0, a 0 at step 6, and a third input at step 0 gives the reference.
    """
    patterns = torch.zeros(4, XOR_STEPS, 3, dtype=torch.uint8)
    bits = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    for row, (a, b) in enumerate(bits.tolist()):
        for column, bit in enumerate((a, b, 1)):
            patterns[row, 0 if bit else XOR_LATE, column] = 1
    y = bits[:, 0] ^ bits[:, 1]
    return patterns.repeat(32, 1, 1), y.repeat(32), patterns, y


def iris() -> Parts:
    """Iris (Fisher 1936), population coded: uint8 ``[n, 1, 4, FIELDS]``, 100 flowers to train, 50 to test.

    Every measure excites ``FIELDS`` Gaussians spread over its range, as in SpikeProp; values below a tenth are 0,
    which the latency code leaves silent. The range is that of the training flowers.
    """
    x, y = _load("load_iris", "iris")
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:100], order[100:]
    low, high = x[train].min(0), x[train].max(0)
    centres = (np.arange(FIELDS) - 0.5) / (FIELDS - 2)  # of the range; the outer two lie beyond it
    width = 1.0 / (1.5 * (FIELDS - 2))
    distance = ((x - low) / (high - low))[:, :, None] - centres
    fields = np.exp(-0.5 * (distance / width) ** 2)
    pixels = np.round(255 * np.where(fields < 0.1, 0.0, fields)).astype(np.uint8)[:, None]
    return _parts(pixels, y, train, test)


def digits() -> Parts:
    """Digits 8x8 (Alpaydin and Kaynak, UCI): uint8 ``[n, 1, 8, 8]``, 1,437 to train and 360 to test."""
    x, y = _load("load_digits", "digits")
    order = np.random.default_rng(0).permutation(len(y))
    pixels = np.round(x.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _parts(pixels, y, order[:1437], order[1437:])


def _parts(x: NDArray[np.uint8], y: NDArray[Any], train: NDArray[Any], test: NDArray[Any]) -> Parts:
    images, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    return images[train], labels[train], images[test], labels[test]


def _load(function: str, name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    require("train", f"the data set {name!r}")
    datasets: Any = importlib.import_module("sklearn.datasets")
    x, y = getattr(datasets, function)(return_X_y=True)
    return x, y
