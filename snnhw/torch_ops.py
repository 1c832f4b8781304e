"""The linear operators of projections as torch calls: the float evaluator and the fast engine share them."""

from __future__ import annotations

import os
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
    """y[b] = op(x[b]); x (B, *pre shape) of the weight's type, y (B, *post shape).

    Where the user lets torch multiply float32 in fewer bits, the product is made in float64, which no such flag
    reaches, and given back as float32: integers up to 2**24 stay exact. The flags are read, not set: they belong to
    the whole process, and another thread may be training under them.
    """
    if x.dtype is torch.float32 and not multiplies_in_float32():
        return product(op, None if weight is None else weight.double(), x.double(), post_shape).float()
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


def multiplies_in_float32() -> bool:
    """Whether torch multiplies float32 on a CPU in float32: not under autocast, a precision flag or oneDNN's variable.

    Sources: torch.backends.mkldnn.{conv,matmul}.fp32_precision (they also show what the backend, `torch.backends`
    and torch.set_float32_matmul_precision say); oneDNN developer guide, "Primitive Attributes: floating-point math
    mode".
    """
    modes = (os.environ.get(f"{maker}_DEFAULT_FPMATH_MODE") for maker in ("ONEDNN", "DNNL"))
    if torch.is_autocast_enabled("cpu") or any((mode or "STRICT").upper() != "STRICT" for mode in modes):
        return False
    onednn: Any = torch.backends.mkldnn
    if not hasattr(onednn, "conv"):  # torch before 2.9 has the one flag
        return torch.get_float32_matmul_precision() == "highest"
    return all(kind.fp32_precision in ("ieee", "none") for kind in (onednn.conv, onednn.matmul))
