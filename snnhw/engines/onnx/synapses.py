"""Linear operators of projections in ONNX, exact.

onnxruntime has MatMul for int64 but Conv for float32 only (ConvInteger takes 8 bits on both sides: graded spikes and
weights of 9 bits do not fit). A product runs in floating point where every partial sum is proven to be an integer below
the mantissa's limit (as in `engines/fast.py`), else in int64; a convolution then is a sum over the taps of its kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snnhw.engines.onnx.graph import INT64, Graph, Value, dtype_code
from snnhw.limits import FLOAT32_EXACT, FLOAT64_EXACT
from snnhw.network import Array, Shape
from snnhw.operators import Candidate, Conv, Dense, Diagonal, Inject, Lift, Operator
from snnhw.operators.windows import Kernels


def magnitude(op: Operator, weights: Any, payload: int, pre: Shape, post: Shape) -> int:
    """Bound of every partial sum of |w| * |x| for |x| <= payload, and of x itself."""
    return max(op.magnitude(weights, payload, pre, post), payload)


def exact_type(bound: int, op: Operator) -> Any:
    """The cheapest type in which sums up to `bound` are exact and for which onnxruntime has the operator."""
    if bound < FLOAT32_EXACT:
        return np.float32
    if bound < FLOAT64_EXACT and not isinstance(op, Kernels):
        return np.float64
    return np.int64


def product(g: Graph, op: Operator, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    """op(x) as int64 (batch, *post), of int64 x (batch, *pre), computed in `dtype`."""
    form: Callable[..., Value] = FORMS.get(type(op), _listed)
    return form(g, op, weights, x, pre, post, dtype)


def _inject(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    return x


def _diagonal(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    return g.op("Mul", x, _weight(g, op.weight, weights[op.weight], np.int64))


def _dense(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    rows = g.weight(f"{op.weight}.transposed", np.asarray(weights[op.weight]).T)
    flat = g.op("Cast", _reshaped(g, x, (-1, int(np.prod(pre)))), to=dtype_code(dtype))
    y = g.op("MatMul", flat, g.op("Cast", rows, to=dtype_code(dtype)))
    return _reshaped(g, g.op("Cast", y, to=INT64), (-1, *post))


def _conv(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    w = np.asarray(weights[op.weight])
    if dtype is not np.float32:
        return _conv_by_taps(g, op, w, x, pre, post)
    y = g.op(
        "Conv",
        g.op("Cast", x, to=dtype_code(dtype)),
        _weight(g, op.weight, w, dtype),
        strides=list(op.stride),
        pads=[*op.padding, *op.padding],
        dilations=list(op.dilation),
        group=op.groups,
        kernel_shape=list(w.shape[2:]),
    )
    return g.op("Cast", y, to=INT64)


def _weight(g: Graph, name: str, array: Array, dtype: Any) -> Value:
    return g.op("Cast", g.weight(name, np.asarray(array)), to=dtype_code(dtype))


def _reshaped(g: Graph, x: Value, shape: tuple[int, ...]) -> Value:
    return g.op("Reshape", x, g.int64(np.array(shape)))


def _conv_by_taps(g: Graph, op: Conv, w: Array, x: Value, pre: Shape, post: Shape) -> Value:
    """Sum over the taps of the kernel of an int64 product over channels."""
    (ph, pw), (sh, sw), (dh, dw) = op.padding, op.stride, op.dilation
    rows, cols = post[1:]
    padded = g.op("Pad", x, g.int64(np.array([0, 0, ph, pw, 0, 0, ph, pw])))
    grouped = w.reshape(op.groups, w.shape[0] // op.groups, *w.shape[1:])
    total: Value | None = None
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            first = np.array([i * dh, j * dw])
            behind = first + np.array([sh * (rows - 1) + 1, sw * (cols - 1) + 1])
            part = g.op("Slice", padded, *(g.int64(a) for a in (first, behind, np.array([2, 3]), np.array([sh, sw]))))
            part = _reshaped(g, part, (-1, op.groups, pre[0] // op.groups, rows * cols))
            tap = _weight(g, f"{op.weight}[{i},{j}]", grouped[..., i, j], np.int64)
            y = g.op("MatMul", tap, part)
            total = y if total is None else g.op("Add", total, y)
    assert total is not None
    return _reshaped(g, total, (-1, *post))


def _listed(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    """Any operator by its synapses: rows padded to the longest one with zero weights, gathered, multiplied, summed."""
    matrix = op.matrix(weights, pre, post)
    lengths = np.diff(matrix.indptr)
    inside = np.arange(lengths.max(initial=1))[None, :] < lengths[:, None]
    columns, values = (np.zeros(inside.shape, like.dtype) for like in (matrix.indices, weights[op.weight]))
    columns[inside], values[inside] = matrix.indices, matrix.data
    flat, own = g.op("Flatten", x, axis=1), f"{op.text} {pre}->{post}"  # operators may share their weights
    sent = g.op("Gather", flat, _weight(g, f"{own}/columns", columns, np.int64), axis=1)
    terms = g.op("Mul", sent, _weight(g, own, values, np.int64))
    return _reshaped(g, g.op("ReduceSum", terms, g.int64(np.array([2])), keepdims=0), (-1, *post))


def _candidate(g: Graph, op: Any, weights: Any, x: Value, pre: Shape, post: Shape, dtype: Any) -> Value:
    """The whole convolution, of which the candidates are gathered."""
    if not isinstance(op.plain, Conv):
        return _listed(g, op, weights, x, pre, post, dtype)
    y = _conv(g, op.plain, weights, x, pre, op.plain.shape(weights, pre), dtype)
    for axis in (1, 2):
        at = op.coordinates(axis, weights, pre)
        y = g.op("Gather", y, g.int64(np.maximum(at, 0)), axis=axis + 1)
        if (at < 0).any():
            y = g.op("Mul", y, g.int64((at >= 0).reshape([-1 if n == axis else 1 for n in range(3)]) * 1))
    return y


FORMS: dict[type[Operator], Callable[..., Value]] = {
    Inject: _inject,
    Diagonal: _diagonal,
    Lift: _diagonal,
    Dense: _dense,
    Conv: _conv,
    Candidate: _candidate,
}
"""Operators that ONNX has words for; all others are gathered synapse by synapse."""
