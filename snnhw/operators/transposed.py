"""Transposed convolutions of images, as decoders use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from snnhw.operators.base import Array, Shape, Some, Weights, floats, pair
from snnhw.operators.windows import Kernels, Relation


@dataclass(frozen=True)
class ConvTranspose(Kernels):
    """torch.nn.ConvTranspose2d: input pixel i and tap k reach output pixel i * stride - padding + k * dilation.

    `weight` names an array (C_out, C_in / groups, kh, kw): outputs first as in `Conv` (torch has inputs first), no tap
    flipped. Pre has shape (C_in, H, W), post (C_out, H', W') with H' = (H - 1) * stride - 2 * padding +
    dilation * (kh - 1) + output_padding + 1.
    """

    weight: str
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    axes = 2
    functions: ClassVar = {
        "conv_transpose2d": {
            "weight": None,
            "bias": None,
            "stride": 1,
            "padding": 0,
            "output_padding": 0,
            "groups": 1,
            "dilation": 1,
        }
    }

    @classmethod
    def of_torch(cls, call: Any, pre: Shape, where: str) -> tuple[ConvTranspose, dict[str, Array], Array]:
        weight = floats(call.weight)
        groups = int(call.groups)
        grouped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)  # inputs behind outputs
        weight = np.ascontiguousarray(grouped.reshape(-1, *grouped.shape[2:]))
        bias = np.zeros(()) if call.bias is None else floats(call.bias).reshape(-1, 1, 1)
        options = {name: pair(getattr(call, name)) for name in ("stride", "padding", "output_padding", "dilation")}
        return cls("", groups=groups, **options), {"": weight}, bias

    def extent(self, axis: int, size: int, kernel: int) -> int:
        at = axis - 1
        inner = (size - 1) * self.stride[at] + self.dilation[at] * (kernel - 1) + 1
        return inner - 2 * self.padding[at] + self.output_padding[at]

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        kernel = weights[self.weight].shape[axis + 1]
        at, taps = np.arange(pre[axis]), np.arange(kernel)[:, None]
        to = at * self.stride[axis - 1] - self.padding[axis - 1] + taps * self.dilation[axis - 1]
        return Relation.of(at, to, (pre[axis], post[axis], kernel))

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Any) -> Any:
        w = super().tensor(weights, pre, post, dtype)
        return w.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).contiguous()

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        from torch.nn.functional import conv_transpose2d

        options = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return conv_transpose2d(x, weight, None, *options)

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        """Windows over the input with zeros between its pixels, where a transposed convolution is a plain one."""
        from torch import flip, from_numpy
        from torch.nn.functional import pad, unfold

        kernel = weights[self.weight].shape[2:]
        positions = x.shape[2] * self.stride[0] * x.shape[3] * self.stride[1]
        few = some(x, max(4 * most // max(positions, 1), 1)).astype(np.float32)
        sizes = [(n - 1) * s + 1 for n, s in zip(few.shape[2:], self.stride, strict=True)]
        spread = np.zeros((*few.shape[:2], *sizes), np.float32)
        spread[:, :, :: self.stride[0], :: self.stride[1]] = few
        before = [(k - 1) * d - p for k, d, p in zip(kernel, self.dilation, self.padding, strict=True)]
        after = [b + more for b, more in zip(before, self.output_padding, strict=True)]
        padded = pad(from_numpy(spread), (before[1], after[1], before[0], after[0]))
        windows = unfold(padded, kernel, self.dilation)
        ours = flip(windows.reshape(len(few), -1, *kernel, windows.shape[2]), (2, 3))
        return some(ours.flatten(1, 3).movedim(1, 2).flatten(0, 1).numpy(), most)
