"""Exact percentiles of what layers give on many samples, holding only the largest values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 64


class Largest:
    """The ``percentile`` of all values seen, linear between the two nearest (numpy's default), and the maximum."""

    def __init__(self, percentile: float, batches: int) -> None:
        self.fraction, self.batches = 1.0 - percentile / 100.0, batches
        self.top = torch.empty(0)
        self.seen = 0

    def add(self, values: Tensor) -> None:
        """The values of one batch; the first batch is the largest."""
        flat = values.detach().flatten()
        self.keep = getattr(self, "keep", math.ceil(self.fraction * flat.numel() * self.batches) + 2)
        self.seen += flat.numel()
        kept = torch.cat([self.top.to(flat), flat.topk(min(self.keep, flat.numel())).values])
        self.top = kept.topk(min(self.keep, kept.numel())).values

    def value(self) -> float:
        """The percentile; the maximum where the percentile is not positive (a layer that is nearly silent)."""
        at = self.fraction * (self.seen - 1)
        low = min(int(at), len(self.top) - 1)
        high = min(low + 1, len(self.top) - 1)
        value = float(self.top[low] + (at - low) * (self.top[high] - self.top[low]))
        return value if value > 0 else float(self.top[0])


@torch.no_grad()
def layer_percentiles(module: nn.Module, layers: Sequence[str], samples: Tensor, percentile: float) -> dict[str, float]:
    """The percentile of what each of the named layers gives on all samples ``[n, ...]``, run in batches."""
    parts = torch.split(samples, BATCH)
    found = {name: Largest(percentile, len(parts)) for name in layers}

    def noter(largest: Largest) -> Any:
        return lambda _module, _inputs, output: largest.add(output)

    hooks = [module.get_submodule(name).register_forward_hook(noter(found[name])) for name in layers]
    try:
        for part in parts:
            module(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: largest.value() for name, largest in found.items()}
