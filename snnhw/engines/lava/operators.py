"""Operators as sparse matrices with one row per pre neuron, so that a step's work follows its spikes.

Convolutions are written apart from `snnhw.operators`, so that the lava engine shares no error with the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from snnhw.network import Array, Shape
from snnhw.operators import Conv, Operator


def rows_by_source(op: Operator, weights: Mapping[str, Array], pre: Shape, post: Shape) -> Any:
    """CSR matrix (pre size, post size), int32: row j holds the synapses of pre neuron j."""
    if isinstance(op, Conv):
        matrix = _conv_rows(op, np.asarray(weights[op.weight]), pre, post)
    else:
        matrix = op.matrix(weights, pre, post).T.tocsr()
    return matrix.astype(np.int32)  # weights fit; `drive` sums in 64 bit


def _conv_rows(op: Conv, w: Array, pre: Shape, post: Shape) -> Any:
    """Convolution rows, one per input position; all channels of a group share one spatial pattern."""
    (channels, rows, cols), (out_channels, out_rows, out_cols) = pre, post
    per_in, per_out = channels // op.groups, out_channels // op.groups
    counts, taps, targets = _spatial(op, w.shape[2:], (rows, cols), (out_rows, out_cols))
    kernel = w.reshape(out_channels, per_in, -1)
    indices, data = [], []
    for channel in range(channels):
        group, within = divmod(channel, per_in)
        outs = np.arange(group * per_out, (group + 1) * per_out)
        indices.append((targets[:, None] + outs * (out_rows * out_cols)).ravel())
        data.append(kernel[outs, within][:, taps].T.ravel())
    indptr = np.concatenate([[0], np.cumsum(np.tile(counts * per_out, channels))])
    size = out_channels * out_rows * out_cols
    return sparse.csr_matrix(
        (np.concatenate(data), np.concatenate(indices), indptr), shape=(channels * rows * cols, size)
    )


def _spatial(op: Conv, kernel: Shape, size: Shape, out: Shape) -> tuple[Array, Array, Array]:
    """For every input position in order: number of kernel taps that use it, those taps, and the outputs they feed."""
    one_axis = [
        _axis(n, k, o, s, p, d)
        for n, k, o, s, p, d in zip(size, kernel, out, op.stride, op.padding, op.dilation, strict=True)
    ]
    counts, taps, targets = [], [], []
    for row_taps, row_outs in one_axis[0]:
        for col_taps, col_outs in one_axis[1]:
            counts.append(len(row_taps) * len(col_taps))
            taps.append((row_taps[:, None] * kernel[1] + col_taps).ravel())
            targets.append((row_outs[:, None] * out[1] + col_outs).ravel())
    return np.array(counts), np.concatenate(taps), np.concatenate(targets)


def _axis(size: int, kernel: int, out: int, stride: int, padding: int, dilation: int) -> list[tuple[Array, Array]]:
    """For every input index of an axis: taps k and outputs o with o * stride + k * dilation - padding = index."""
    taps = np.arange(kernel)
    found = []
    for index in range(size):
        reach = index + padding - taps * dilation
        hit = (reach >= 0) & (reach % stride == 0) & (reach // stride < out)
        found.append((taps[hit], reach[hit] // stride))
    return found


def drive(matrix: Any, values: Array) -> Array:
    """Sum over the synapses of the active pre neurons; `values` is flat, one number per pre neuron."""
    active = np.flatnonzero(values)
    if active.size == 0:
        return np.zeros(matrix.shape[1], np.int64)
    return np.asarray(matrix[active].T @ values[active].astype(np.int64))
