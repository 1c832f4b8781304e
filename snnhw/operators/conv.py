"""Convolutions of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.operators.base import Array, Shape, Some, Weights
from snnhw.operators.windows import Correlation


@dataclass(frozen=True)
class Conv(Correlation):
    """Cross-correlation as torch.nn.Conv2d; `weight` names an array (C_out, C_in / groups, kh, kw).

    Pre has shape (C_in, H, W), post (C_out, H', W'); `padding` is zero padding on both sides of each axis.
    """

    weight: str
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    axes = 2

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        from torch.nn.functional import conv2d

        return conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        import torch

        positions = (x.shape[2] // self.stride[0]) * (x.shape[3] // self.stride[1])
        few = torch.from_numpy(some(x, max(4 * most // max(positions, 1), 1)).astype(np.float32))
        kernel = weights[self.weight].shape[2:]
        unfolded = torch.nn.functional.unfold(few, kernel, self.dilation, self.padding, self.stride)
        return some(unfolded.movedim(1, 2).flatten(0, 1).numpy(), most)

    @property
    def text(self) -> str:
        stride, padding, dilation = ("x".join(map(str, n)) for n in (self.stride, self.padding, self.dilation))
        rest = f" dilation={dilation}" if self.dilation != (1, 1) else ""
        rest += f" groups={self.groups}" if self.groups != 1 else ""
        return f"conv[{self.weight}] stride={stride} padding={padding}{rest}"
