"""The linear operators of projections in plain numpy: exact on integers, float64 on reals.

Used by the reference engine, the float evaluator and the chip model. Nothing here is fast; everything is plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.errors import LoweringError
from snnhw.network import Array, Conv, Dense, Diagonal, Inject, LinearOp, Network, Projection, Shape, Sparse


def apply(op: LinearOp, weights: Any, x: Array, post_shape: Shape) -> Array:
    """y[b] = op(x[b]).

    Args:
        weights: the network's weight table.
        x: values of the pre population, shape (B, *pre_shape).
        post_shape: shape of the post population.

    Returns:
        Array (B, *post_shape), int64 for integer weights and values, else float64.
    """
    batch = x.shape[0]
    match op:
        case Inject():
            return _wide(x)
        case Dense():
            w = _wide(weights[op.weight])
            return (_wide(x).reshape(batch, -1) @ w.T).reshape(batch, *post_shape)
        case Diagonal():
            return _wide(x) * _wide(weights[op.weight])
        case Sparse():
            return np.asarray(matrix_of(op, weights, x[0].size) @ _wide(x).reshape(batch, -1).T).T.reshape(
                batch, *post_shape
            )
        case Conv():
            return _conv(_wide(x), _wide(weights[op.weight]), op, post_shape)


def matrix_of(op: Sparse, weights: Any, pre_size: int) -> Any:
    """The CSR matrix of a Sparse operator."""
    data, indices, indptr = (weights[op.weight + part] for part in ("", "/indices", "/indptr"))
    return sparse.csr_matrix((_wide(data), indices, indptr), shape=(len(indptr) - 1, pre_size))


def _wide(x: Array) -> Array:
    return x.astype(np.float64 if x.dtype.kind == "f" else np.int64, copy=False)


def _conv(x: Array, w: Array, op: Conv, post_shape: Shape) -> Array:
    """Sum over kernel positions of a channel product; the textbook definition."""
    (ph, pw), (sh, sw), (dh, dw), groups = op.padding, op.stride, op.dilation, op.groups
    out_c, height, width = post_shape
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    y = np.zeros((x.shape[0], *post_shape), np.result_type(x, w))
    in_step, out_step = x.shape[1] // groups, out_c // groups
    for g in range(groups):
        xg, wg = x[:, g * in_step : (g + 1) * in_step], w[g * out_step : (g + 1) * out_step]
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                part = xg[
                    :, :, i * dh : i * dh + sh * (height - 1) + 1 : sh, j * dw : j * dw + sw * (width - 1) + 1 : sw
                ]
                product = np.tensordot(part, wg[:, :, i, j], axes=(1, 1))  # B, H, W, C_out
                y[:, g * out_step : (g + 1) * out_step] += np.moveaxis(product, -1, 1)
    return y


def conv_shape(pre_shape: Shape, weight_shape: Shape, op: Conv) -> Shape:
    """Shape of the post population of a convolution."""
    spatial = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(pre_shape[1:], weight_shape[2:], op.stride, op.padding, op.dilation, strict=True)
    )
    return (weight_shape[0], *spatial)


def counting(
    projection: Projection, network: Network[Any], *, nonzero: bool = False
) -> tuple[LinearOp, dict[str, Array]]:
    """The operator with every stored synapse (or every non-zero one) replaced by 1: y counts synapses reached."""
    op = projection.op
    if isinstance(op, Inject):
        return op, {}
    w = network.weights[op.weight]
    table = {op.weight: (w != 0).astype(np.int64) if nonzero else np.ones(w.shape, np.int64)}
    if isinstance(op, Sparse):
        table |= {op.weight + part: network.weights[op.weight + part] for part in ("/indices", "/indptr")}
    return op, table


def adjoint(op: LinearOp, weights: Any, y: Array, pre_shape: Shape) -> Array:
    """The transposed operator: x[b] = op^T(y[b]), shape (B, *pre_shape)."""
    batch = y.shape[0]
    match op:
        case Inject():
            return _wide(y)
        case Dense():
            return (_wide(y).reshape(batch, -1) @ _wide(weights[op.weight])).reshape(batch, *pre_shape)
        case Diagonal():
            return _wide(y) * _wide(weights[op.weight])
        case Sparse():
            matrix = matrix_of(op, weights, int(np.prod(pre_shape)))
            return np.asarray(matrix.T @ _wide(y).reshape(batch, -1).T).T.reshape(batch, *pre_shape)
        case Conv():
            return _conv_adjoint(_wide(y), _wide(weights[op.weight]), op, pre_shape)


def _conv_adjoint(y: Array, w: Array, op: Conv, pre_shape: Shape) -> Array:
    (ph, pw), (sh, sw), (dh, dw), groups = op.padding, op.stride, op.dilation, op.groups
    channels, rows, cols = pre_shape
    height, width = y.shape[2:]
    x = np.zeros((y.shape[0], channels, rows + 2 * ph, cols + 2 * pw), np.result_type(y, w))
    in_step, out_step = channels // groups, y.shape[1] // groups
    for g in range(groups):
        yg, wg = y[:, g * out_step : (g + 1) * out_step], w[g * out_step : (g + 1) * out_step]
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                product = np.moveaxis(np.tensordot(yg, wg[:, :, i, j], axes=(1, 0)), -1, 1)
                rows_at = slice(i * dh, i * dh + sh * (height - 1) + 1, sh)
                cols_at = slice(j * dw, j * dw + sw * (width - 1) + 1, sw)
                x[:, g * in_step : (g + 1) * in_step, rows_at, cols_at] += product
    return x[:, :, ph : ph + rows, pw : pw + cols]


def fan_out(projection: Projection, network: Network[Any], *, nonzero: bool = False) -> Array:
    """Synapses reached by one spike of each pre neuron (border aware), int64 of the pre population's shape."""
    pre, post = network[projection.pre], network[projection.post]
    if isinstance(projection.op, Inject):
        return np.zeros(pre.shape, np.int64)
    op, table = counting(projection, network, nonzero=nonzero)
    if isinstance(op, Diagonal):
        table = {op.weight: np.broadcast_to(table[op.weight], pre.shape)}
    ones = np.ones((1, *post.shape), np.int64)
    return np.asarray(adjoint(op, table, ones, pre.shape)[0])


def reach(
    op: LinearOp, weights: Any, low: float, high: float, pre_shape: Shape, post_shape: Shape
) -> tuple[Array, Array]:
    """Interval arithmetic: bounds of op(x) for x in [low, high], each of the post population's shape."""
    if isinstance(op, Inject):
        return np.full(post_shape, low), np.full(post_shape, high)
    w = weights[op.weight]
    whole = w.dtype.kind in "iu"
    # zero padding is a value inside the interval only if the interval holds 0, which all payloads do
    if whole and isinstance(op, Conv):
        return _conv_reach(op, w, int(low), int(high), pre_shape, post_shape)
    structure = {
        op.weight + part: weights[op.weight + part] for part in ("/indices", "/indptr") if op.weight + part in weights
    }
    positive, negative = {op.weight: np.maximum(w, 0), **structure}, {op.weight: np.minimum(w, 0), **structure}
    dtype = np.int64 if whole else np.float64
    highs, lows = np.full((1, *pre_shape), high, dtype), np.full((1, *pre_shape), low, dtype)
    top = apply(op, positive, highs, post_shape)[0] + apply(op, negative, lows, post_shape)[0]
    bottom = apply(op, positive, lows, post_shape)[0] + apply(op, negative, highs, post_shape)[0]
    return bottom, top


def _conv_reach(op: Conv, w: Array, low: int, high: int, pre_shape: Shape, post_shape: Shape) -> tuple[Array, Array]:
    """`reach` of an integer convolution: every input channel and pixel has the same interval, so the taps of a kernel
    are added over its channels first, and a pixel's bound is the sum of the taps that lie inside the image there."""
    positive, negative = (part(w, 0).sum(axis=1, dtype=np.int64) for part in (np.maximum, np.minimum))
    rows, cols = (_taps_inside(op, axis, w.shape[axis + 2], pre_shape, post_shape) for axis in (0, 1))
    ends = (positive * low + negative * high, positive * high + negative * low)
    bottom, top = (rows.T @ taps @ cols for taps in ends)  # (H', kh) @ (C_out, kh, kw) @ (kw, W')
    return bottom, top


def _taps_inside(op: Conv, axis: int, kernel: int, pre_shape: Shape, post_shape: Shape) -> Array:
    """Which taps of a kernel fall inside the image along one axis: 0 or 1, (kernel, extent of post)."""
    starts = np.arange(post_shape[axis + 1], dtype=np.int64) * op.stride[axis] - op.padding[axis]
    at = np.arange(kernel, dtype=np.int64)[:, None] * op.dilation[axis] + starts
    return ((at >= 0) & (at < pre_shape[axis + 1])).astype(np.int64)


def scale_rows(
    op: LinearOp, arrays: Mapping[str, Array], factor: Array, post_shape: Shape, where: str
) -> dict[str, Array]:
    """Arrays of an operator (keys '', '/indices', '/indptr') with each post neuron's row multiplied by its factor.

    Args:
        factor: one number, or an array that broadcasts to the post population's shape.

    Raises:
        LoweringError: a convolution whose factor differs inside a channel.
    """
    w = arrays[""]
    match op:
        case _ if factor.ndim == 0:
            rows = factor
        case Conv():
            if factor.size != post_shape[0] or factor.shape[0] != post_shape[0]:
                raise LoweringError(
                    "per-neuron-gain",
                    "a factor that differs inside a channel cannot enter a convolution's weights",
                    where=where,
                    hint="use one time constant per channel",
                )
            rows = factor.reshape(-1, 1, 1, 1)
        case Dense():
            rows = np.broadcast_to(factor, post_shape).reshape(-1, 1)
        case Sparse():
            rows = np.repeat(np.broadcast_to(factor, post_shape).ravel(), np.diff(arrays["/indptr"]))
        case _:
            rows = factor
    return {**arrays, "": np.asarray(w * rows)}
