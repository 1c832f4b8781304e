"""One-to-one projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.operators.base import Array, Shape, Weights
from snnhw.operators.windows import Copies, Relation


@dataclass(frozen=True)
class Diagonal(Copies):
    """y = w * x, one to one; `weight` names an array that broadcasts to the shape (equal for pre and post)."""

    weight: str

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return pre

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        at = np.arange(pre[axis])
        return Relation.of(at[None], at[None], (pre[axis], pre[axis], 1))

    def moved(self, weights: Weights, x: Array, post: Shape) -> Array:
        return x

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        return x * weight
