"""The linear operators of projections as torch calls: the float evaluator and the fast engine share them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnhw.network import Conv, Dense, Diagonal, Inject, LinearOp, Shape, Sparse


def weight_tensor(op: LinearOp, weights: Mapping[str, Any], pre_size: int, dtype: torch.dtype) -> Tensor | None:
    """Weights of an operator in a float type; None for an injection."""
    if isinstance(op, Inject):
        return None
    if isinstance(op, Sparse):
        data, indices, indptr = (np.array(weights[op.weight + part]) for part in ("", "/indices", "/indptr"))
        rows, columns = (torch.from_numpy(part.astype(np.int64)) for part in (indptr, indices))
        values = torch.from_numpy(data).to(dtype)
        size = (len(indptr) - 1, pre_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "sparse CSR is in beta state"; the results are compared
            return torch.sparse_csr_tensor(rows, columns, values, size=size, check_invariants=True)
    return torch.from_numpy(np.array(weights[op.weight])).to(dtype)


def product(op: LinearOp, weight: Tensor | None, x: Tensor, post_shape: Shape) -> Tensor:
    """y[b] = op(x[b]); x (B, *pre shape) of the weight's type, y (B, *post shape)."""
    match op:
        case Inject():
            return x
        case Conv():
            assert weight is not None
            return torch.nn.functional.conv2d(x, weight, None, op.stride, op.padding, op.dilation, op.groups)
        case Diagonal():
            assert weight is not None
            return x * weight
        case Dense():
            assert weight is not None
            return (x.flatten(1) @ weight.T).reshape(-1, *post_shape)
        case Sparse():
            assert weight is not None
            return (weight @ x.flatten(1).T).T.reshape(-1, *post_shape)
