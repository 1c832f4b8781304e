"""Nearest upsampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from snnhw.errors import SourceError
from snnhw.operators.base import Array, Shape, Weights
from snnhw.operators.windows import Copies, Relation


@dataclass(frozen=True)
class Upsample(Copies):
    """Every value repeated `scale[i]` times along axis i + 1: torch's nearest interpolation by whole factors.

    `weight` names an array that broadcasts to post, of shape (C, H * scale[0], W * scale[1]) or (C, L * scale[0]).
    """

    weight: str
    scale: tuple[int, ...] = (1, 1)
    functions: ClassVar = {
        "interpolate": {
            "size": None,
            "scale_factor": None,
            "mode": "nearest",
            "align_corners": None,
            "recompute_scale_factor": None,
            "antialias": False,
        }
    }

    @classmethod
    def of_torch(cls, call: Any, pre: Shape, where: str) -> tuple[Upsample, dict[str, Array], Array]:
        axes = len(pre) - 1
        given = call.scale_factor if call.size is None else call.size
        wished = [float(n) for n in np.broadcast_to(np.asarray(given, np.float64), axes)]
        factors = wished if call.size is None else [n / have for n, have in zip(wished, pre[1:], strict=True)]
        if call.mode != "nearest" or call.antialias or any(f != int(f) or f < 1 for f in factors):
            raise SourceError(
                "unsupported-option",
                "only nearest upsampling by whole factors is supported",
                where=where,
                needed=f"{call.mode} by {', '.join(f'{f:g}' for f in factors)}",
                limit="mode 'nearest', factors 1, 2, 3, ...",
                hint="use mode='nearest' and sizes that are multiples of the input's, or a transposed convolution",
            )
        return cls("", tuple(int(f) for f in factors)), {"": np.ones(())}, np.zeros(())

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return (pre[0], *(n * k for n, k in zip(pre[1:], self.scale, strict=True)))

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        return len(pre) == len(self.scale) + 1 and min(self.scale) >= 1 and super().fits(weights, pre, post)

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        to = np.arange(post[axis])
        return Relation.of(to[None] // self.scale[axis - 1], to[None], (pre[axis], post[axis], 1))

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        for axis, times in enumerate(self.scale, start=2):
            x = x.repeat_interleave(times, axis)
        return x * weight
