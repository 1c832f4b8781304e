"""Accuracy of a float network on samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnhw.zoo.encode import encode, scale
from snnhw.zoo.objectives import decode


@torch.no_grad()
def predict(
    model: nn.Module,
    samples: Tensor,
    *,
    encoding: str,
    steps: int,
    readout: str = "rate",
    seed: int = 0,
    batch: int = 250,
) -> Tensor:
    """Classes int64 ``[n]`` of uint8 images ``[n, ...]`` or sequences ``[n, T, ...]``; lowest class on ties."""
    training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in torch.split(samples, batch):
        values = part if encoding == "spikes" else scale(part)
        found.append(decode(model(encode(values, encoding, steps, generator)), readout))
    model.train(training)
    return torch.cat(found)


def accuracy(
    model: nn.Module,
    samples: Tensor,
    labels: Tensor,
    *,
    encoding: str,
    steps: int,
    readout: str = "rate",
    seed: int = 0,
) -> float:
    """Share of right predictions, 0..1."""
    found = predict(model, samples, encoding=encoding, steps=steps, readout=readout, seed=seed)
    return float((found == labels).double().mean())
