"""Values that enter as they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.operators.base import Array, Operator, Shape, Weights, csr, wide

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as Dtype


@dataclass(frozen=True)
class Inject(Operator):
    """y = x: values computed by the host enter as bias currents; no synapses, no synops."""

    parts = ()
    format = None
    injects = True
    multiplies = False
    text = "inject"

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return pre

    def places(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        return csr((prod(post), prod(pre)), dtype=np.int64)

    def matrix(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        raise TypeError("Inject has no synapses")

    def apply(self, weights: Weights, x: Array, post: Shape) -> Array:
        return wide(x)

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        return wide(y)

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Dtype) -> Tensor | None:
        return None

    def forward(self, weight: Tensor | None, x: Tensor, post: Shape) -> Tensor:
        return x

    def reach(self, weights: Weights, low: float, high: float, pre: Shape, post: Shape) -> tuple[Array, Array]:
        return np.full(post, low), np.full(post, high)

    def magnitude(self, weights: Weights, payload: int, pre: Shape, post: Shape) -> int:
        return payload

    def fan_out(self, weights: Weights, pre: Shape, post: Shape, *, nonzero: bool = False) -> Any:
        return np.zeros(pre, np.int64)
