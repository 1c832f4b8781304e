"""Accuracy of a float network on images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnhw.zoo.encode import encode, scale


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, encoding: str, steps: int, seed: int = 0, batch: int = 250) -> Tensor:
    """Classes int64 ``[n]`` of uint8 images ``[n, ...]``: argmax of the mean over T, first on ties."""
    training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    found = [
        model(encode(scale(part), encoding, steps, generator)).mean(0).argmax(1) for part in torch.split(images, batch)
    ]
    model.train(training)
    return torch.cat(found)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, *, encoding: str, steps: int, seed: int = 0) -> float:
    """Share of right predictions, 0..1."""
    found = predict(model, images, encoding=encoding, steps=steps, seed=seed)
    return float((found == labels).double().mean())
