"""A matrix in CSR form."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snnhw.operators.base import Operator, Shape, Weights, csr, wide


@dataclass(frozen=True)
class Sparse(Operator):
    """y = W x over flattened pre and post, W in CSR form.

    `weight` names the stored values; `weight + '/indices'` and `weight + '/indptr'` name the structure.
    """

    weight: str
    parts = ("", "/indices", "/indptr")

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        return (len(weights[f"{self.weight}/indptr"]) - 1,)

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        """Whether the matrix points inside its populations; compiled code reads without asking."""
        if any(self.weight + part not in weights for part in self.parts):
            return False
        w, indices, indptr = self.arrays(weights).values()
        if indptr.shape != (prod(post) + 1,) or w.shape != indices.shape:
            return False
        inside = not indices.size or (indices.min() >= 0 and indices.max() < prod(pre))
        return bool(inside and indptr[0] == 0 and indptr[-1] == w.size and (np.diff(indptr) >= 0).all())

    def places(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        w, indices, indptr = self.arrays(weights).values()
        return csr((np.arange(len(w)), indices, indptr), (len(indptr) - 1, prod(pre)))

    def matrix(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        w, indices, indptr = self.arrays(weights).values()
        return csr((wide(w), indices, indptr), (len(indptr) - 1, prod(pre)))

    def rows(self, post: Shape) -> Shape:
        return post
