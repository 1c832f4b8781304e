"""How the fast engine lays a population's neurons in a row: channels last, as compiled products read and write them."""

from __future__ import annotations

import os
from math import prod

import numpy as np

from snnhw.network import Array, Shape


def inner(x: Array, shape: Shape) -> Array:
    """(..., *shape) as (..., N) in the engine's order."""
    lead = x.shape[: x.ndim - len(shape)]
    moved = np.moveaxis(x, len(lead), -1) if len(shape) > 1 else x
    return moved.reshape(*lead, prod(shape))


def outer(x: Array, shape: Shape) -> Array:
    """(..., N) in the engine's order as a view (..., *shape)."""
    if shape[0] == 1 or prod(shape[1:]) == 1:  # both orders are one; torch's convolutions err on strides of the other
        return x.reshape(*x.shape[:-1], *shape)
    return np.moveaxis(x.reshape(*x.shape[:-1], *shape[1:], shape[0]), -1, x.ndim - 1)


def switched_off() -> str:
    """Why neither 8-bit products nor kernels compiled for single rules are used, if the user wants none."""
    return "switched off (SNNHW_KERNELS=plain)" if os.environ.get("SNNHW_KERNELS") == "plain" else ""
