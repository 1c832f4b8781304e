"""Convolutions of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.operators.base import Array, Shape, Some, Weights
from snnhw.operators.windows import Correlation


@dataclass(frozen=True)
class Conv1d(Correlation):
    """Cross-correlation as torch.nn.Conv1d; `weight` names an array (C_out, C_in / groups, k).

    Pre has shape (C_in, L), post (C_out, L'); options are tuples of one number.
    """

    weight: str
    stride: tuple[int] = (1,)
    padding: tuple[int] = (0,)
    dilation: tuple[int] = (1,)
    groups: int = 1
    axes = 1

    @classmethod
    def of_nir(cls, node: Any) -> tuple[Conv1d, dict[str, Array]] | None:
        if type(node).__name__ != "Conv1d" or isinstance(node.padding, str):
            return None
        stride, padding, dilation = ((int(np.ravel(n)[0]),) for n in (node.stride, node.padding, node.dilation))
        weight = np.asarray(node.weight, np.float64)
        return cls("", stride, padding, dilation, int(node.groups)), {"": weight}

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        from torch.nn.functional import conv1d

        return conv1d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        from torch import from_numpy
        from torch.nn.functional import unfold

        few = from_numpy(some(x, max(4 * most * self.stride[0] // x.shape[2], 1)).astype(np.float32))
        kernel = (1, weights[self.weight].shape[2])
        options = ((1, *self.dilation), (0, *self.padding), (1, *self.stride))
        return some(unfold(few[:, :, None], kernel, *options).movedim(1, 2).flatten(0, 1).numpy(), most)
