"""Zero padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from snnhw.errors import SourceError
from snnhw.operators.base import Array, Shape, Weights
from snnhw.operators.windows import Copies, Relation


@dataclass(frozen=True)
class Pad(Copies):
    """Zeros before and after: `padding[i]` is (before, after) along axis i + 1; negative numbers cut off.

    `weight` names an array that broadcasts to post.
    """

    weight: str
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    functions: ClassVar = {"pad": {"pad": None, "mode": "constant", "value": None}}

    @classmethod
    def of_torch(cls, call: Any, pre: Shape, where: str) -> tuple[Pad, dict[str, Array], Array]:
        ends = [int(n) for n in call.pad]
        pairs = list(zip(ends[::2], ends[1::2], strict=True))[::-1]  # torch counts from the last axis
        if call.mode != "constant" or call.value or len(pairs) >= len(pre):
            raise SourceError(
                "unsupported-option",
                "only padding of an image's own axes with zeros is supported",
                where=where,
                needed=f"mode {call.mode!r}, value {call.value or 0}, {len(pairs)} axes",
                limit=f"mode 'constant', value 0, {len(pre) - 1} axes",
                hint="use zero padding",
            )
        whole = [(0, 0)] * (len(pre) - 1 - len(pairs)) + pairs
        return cls("", tuple(whole)), {"": np.ones(())}, np.zeros(())

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return (pre[0], *(n + sum(ends) for n, ends in zip(pre[1:], self.padding, strict=True)))

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        return len(pre) == len(self.padding) + 1 and super().fits(weights, pre, post)

    def kernel(self, weights: Weights, pre: Shape) -> tuple[Array, Any, Any, Any, int] | None:
        even = all(before == after for before, after in self.padding)
        if len(pre) != 3 or not even or weights[self.weight].size != 1:
            return None
        ones = np.full((pre[0], 1, 1, 1), weights[self.weight].item())
        return ones, (1, 1), tuple(before for before, _ in self.padding), (1, 1), pre[0]

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        at = np.arange(pre[axis])[None]
        return Relation.of(at, at + self.padding[axis - 1][0], (pre[axis], post[axis], 1))

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        from torch.nn.functional import pad

        return pad(x, [n for ends in reversed(self.padding) for n in ends]) * weight
