"""Products of 8-bit integers by oneDNN, through torch's operators for quantised networks: the one file that knows them.

They are internal to torch, so their schemas are compared with those that were tried; anything else is not used. Unit
scales and no zero points: what comes back is the sum of products as float32, exact below 2**24.

Without VNNI instructions oneDNN adds pairs of products in 16 bits, which saturate. So payloads are cut to 7 bits
(`PLANE`) unless weights are small enough for more: 2 * payload * weight stays within 16 bits on every machine alike.
A self-test with each layer's own weights is a second guard.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from snnhw.engines.layout import inner, outer
from snnhw.network import Array, Shape
from snnhw.operators import Conv, Conv1d, Dense, Operator

PLANE = 7
"""Bits of a payload that any int8 weight can be multiplied by."""

_QUANTISED = "Tensor qw, Tensor w_scale, Tensor w_zero_point, Tensor? bias, "
_GIVEN = "float output_scale, int output_zero_point, ScalarType? output_dtype, "
_WINDOW = "int[] stride, int[] padding, int[] dilation, int groups, "
SCHEMAS = {
    "qconv_prepack": "onednn::qconv_prepack(Tensor weight, Tensor w_scales, float x_scale, int x_zp, int[] stride, "
    "int[] padding, int[] dilation, int groups, int[]? x_shape=None) -> Tensor",
    "qconv2d_pointwise": "onednn::qconv2d_pointwise(Tensor qx, float x_scale, int x_zero_point, "
    f"{_QUANTISED}{_WINDOW}{_GIVEN}str attr, Scalar?[] scalars, str? algorithm) -> Tensor",
    "qlinear_prepack": "onednn::qlinear_prepack(Tensor weight, int[]? x_shape) -> Tensor",
    "qlinear_pointwise": "onednn::qlinear_pointwise(Tensor qx, float x_scale, int x_zero_point, "
    f"{_QUANTISED}{_GIVEN}str post_op_name, Scalar?[] post_op_args, str post_op_algorithm) -> Tensor",
}
"""Of torch 2.13."""

Product = Callable[[Array], Array]
"""uint8 (n, pre size) in the engine's order -> float32 (n, post size)."""


@cache
def missing() -> str:
    """Why this torch has no such products; empty where it has."""
    for name, schema in SCHEMAS.items():
        try:
            found = str(getattr(torch.ops.onednn, name).default._schema)
        except (AttributeError, RuntimeError):
            return f"torch {torch.__version__} has no onednn::{name}"
        if found != schema:
            return f"onednn::{name} of torch {torch.__version__} is another one"
    return ""


def planes(weights: Array, largest: int) -> tuple[int, int]:
    """How many planes payloads up to `largest` are cut into, and the bits of each; weights fit in int8."""
    most, least = int(weights.max(initial=0)), int(weights.min(initial=0))
    if largest < 256 and 2 * largest * most < 1 << 15 and -2 * largest * least <= 1 << 15:
        return 1, 8
    return -(-largest.bit_length() // PLANE), PLANE


def unfit(op: Operator, weights: Array, pre: Shape, post: Shape) -> str:
    """Why an operator has no such product: another form, or a shape at which oneDNN 3.12 errs or crashes."""
    if isinstance(op, Dense):
        return ""
    if not isinstance(op, Conv | Conv1d):
        return "no convolution or full matrix"
    reaches = (d * (k - 1) for d, k in zip(op.dilation, weights.shape[2:], strict=True))
    if any(padding > reach for padding, reach in zip(op.padding, reaches, strict=True)):
        return "windows that lie in padding whole"
    if weights.shape[1] == post[-1] == 1:
        return "one channel and one column"
    return ""


def packed(op: Operator, weights: Array, pre: Shape, post: Shape) -> Product:
    """The product with int8 weights of their operator's form, which `unfit` found fit."""
    if isinstance(op, Dense):
        return _linear(_columns(weights, pre, post))
    if isinstance(op, Conv1d):
        wide = Conv(op.weight, (1, *op.stride), (0, *op.padding), (1, *op.dilation), op.groups)
        return _convolution(weights[:, :, None], wide, (pre[0], 1, *pre[1:]), (post[0], 1, *post[1:]))
    assert isinstance(op, Conv)
    return _convolution(weights, op, pre, post)


def _columns(weights: Array, pre: Shape, post: Shape) -> Array:
    """A matrix whose rows and columns follow the engine's order."""
    turned = inner(weights.reshape(-1, *pre), pre)
    return np.ascontiguousarray(inner(np.moveaxis(turned, 0, -1).reshape(-1, *post), post).T)


def _linear(weights: Array) -> Product:
    ones, zeros = torch.ones(len(weights)), torch.zeros(len(weights), dtype=torch.int64)
    stored: Any = torch.ops.onednn.qlinear_prepack(torch.from_numpy(weights), None)

    def product(x: Array) -> Array:
        given = torch.from_numpy(x)
        y: Any = torch.ops.onednn.qlinear_pointwise(
            given, 1.0, 0, stored, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y.numpy()  # type: ignore[no-any-return]

    return product


def _convolution(weights: Array, op: Conv, pre: Shape, post: Shape) -> Product:
    ones, zeros = torch.ones(len(weights)), torch.zeros(len(weights), dtype=torch.int64)
    window = list(op.stride), list(op.padding), list(op.dilation), op.groups
    stored: Any = torch.ops.onednn.qconv_prepack(torch.from_numpy(weights), ones, 1.0, 0, *window)

    def product(x: Array) -> Array:
        images = torch.from_numpy(outer(x, pre))
        y: Any = torch.ops.onednn.qconv2d_pointwise(
            images, 1.0, 0, stored, ones, zeros, None, *window, 1.0, 0, torch.float32, "none", [], ""
        )
        return inner(y.numpy(), post)

    return product
