"""A full matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.operators.base import Array, Entries, Ints, Operator, Shape, Some, Weights, Words, box_sums, csr, sizes, wide

if TYPE_CHECKING:
    from torch import Tensor
    from torch import dtype as Dtype


@dataclass(frozen=True)
class Dense(Operator):
    """y = W x over flattened (C order) pre and post; `weight` names W, shape (post size, pre size)."""

    weight: str
    format = "dense"
    shares_axons = True

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return (len(weights[self.weight]),)

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        return weights[self.weight].shape == (prod(post), prod(pre))

    def places(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        rows, columns = prod(post), prod(pre)
        parts = np.arange(rows * columns), np.tile(np.arange(columns), rows), np.arange(rows + 1) * columns
        return csr(parts, (rows, columns))

    def full(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        return self.values(weights)

    def apply(self, weights: Weights, x: Array, post: Shape) -> Array:
        return np.asarray(wide(x).reshape(len(x), -1) @ self.values(weights).T).reshape(len(x), *post)

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        return np.asarray(wide(y).reshape(len(y), -1) @ self.values(weights)).reshape(len(y), *pre)

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Dtype) -> Tensor | None:
        import torch

        return torch.from_numpy(np.array(weights[self.weight])).to(dtype)

    def forward(self, weight: Tensor | None, x: Tensor, post: Shape) -> Tensor:
        assert weight is not None
        return (x.flatten(1) @ weight.T).reshape(-1, *post)

    def spread(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints) -> tuple[Ints, Any]:
        """All neurons are alike."""
        return np.zeros(prod(pre), np.int64), csr(sizes(boxes)[None])

    def fan_in(self, weights: Weights, pre: Shape, post: Shape) -> int:
        return prod(pre)

    def rows(self, post: Shape) -> Shape:
        return post

    def row_largest(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        return np.asarray(np.abs(weights[self.weight]).max(axis=1).reshape(post))

    def scaled(self, weights: Weights, factor: Array, pre: Shape, post: Shape, where: str) -> Array:
        if factor.ndim:
            factor = np.broadcast_to(factor, post).reshape(-1, 1)
        return np.asarray(weights[self.weight] * factor)

    alike = True

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        return some(x.reshape(len(x), -1), most)

    def lists(
        self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, words: Words, shared: bool
    ) -> tuple[Ints, Ints]:
        longest = words(sizes(boxes))
        return longest, prod(pre) * longest

    def axons(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, entries: Entries
    ) -> tuple[Ints, Ints]:
        entered, left = entries(sizes(sources))
        return np.full(len(destinations), entered.sum()), left * len(destinations)

    def received(self, weights: Weights, pre: Shape, post: Shape, rates: Array) -> Array:
        return np.full(post, rates.sum())

    def traffic(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, rates: Array) -> tuple[Array, Ints]:
        return np.full(len(boxes), rates.sum()), np.full(pre, len(boxes), np.int64)

    def flows(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, rates: Array
    ) -> Array:
        return np.repeat(box_sums(rates, sources)[:, None], len(destinations), axis=1)
