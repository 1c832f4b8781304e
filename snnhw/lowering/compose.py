"""A chain of linear nodes as one linear operator, exactly.

Closed forms first (convolutions with pools before or behind them, anything that ends in a matrix); whatever has none
becomes a sparse matrix by probing. Every closed form is checked on random numbers before it is believed: pools that
drop rows and padded borders make some of them inexact.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import nir
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from snnhw.errors import LoweringError
from snnhw.frontends.own import LinearNode
from snnhw.frontends.simulate import linear
from snnhw.limits import samples_at_once
from snnhw.network import Array, Conv, Dense, Diagonal, LinearOp, Shape, Sparse
from snnhw.operators import REGISTRY
from snnhw.operators.base import pair

PROBE_BATCH = 512
MAX_NONZERO = 200_000_000
MAX_KERNEL = 1 << 26
"""Values of a kernel that composition may write out; a chain that needs more is probed."""


@dataclass(frozen=True)
class Composed:
    """A linear operator with its arrays (keys: '' for the weights, '/indices' and '/indptr' for structure)."""

    kind: LinearOp
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Kernel:
    """A convolution under composition: weight (C_out, C_in / groups, kh, kw)."""

    weight: Array
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def compose(chain: Sequence[tuple[str, nir.NIRNode]], pre_shape: Shape, post_shape: Shape) -> Composed:
    """The linear part (no biases) of a chain of named NIR nodes, from pre to post population.

    Returns an operator whose `weight` is the empty string; the caller names it. An empty chain is the identity.
    """
    if not chain:
        return Composed(Diagonal(""), {"": np.ones(())})
    nodes = [node for _, node in chain]
    if len(nodes) == 1:
        kinds: list[Any] = [LinearNode, *REGISTRY.values()]
        for kind in kinds:
            if (found := kind.of_nir(nodes[0])) is not None:
                return Composed(*found)
    if any(isinstance(node, (nir.Affine, nir.Linear)) for node in nodes):
        return Composed(Dense(""), {"": _matrix(chain, pre_shape, post_shape)})
    kernel = _kernel(nodes, pre_shape)
    if kernel is not None:
        found = Composed(Conv("", kernel.stride, kernel.padding, kernel.dilation, kernel.groups), {"": kernel.weight})
        single = len(nodes) == 1 and isinstance(nodes[0], nir.Conv2d)  # as it is: nothing was derived
        if single or _agrees(found, chain, pre_shape, post_shape):
            return found
    return _probe(chain, pre_shape, post_shape)


def run_chain(chain: Sequence[tuple[str, nir.NIRNode]], x: Tensor) -> Tensor:
    """The chain without biases on a batch."""
    for name, node in chain:
        x = linear(unbiased(node), x, name)
    return x


def unbiased(node: nir.NIRNode) -> nir.NIRNode:
    """A linear node without its bias."""
    match node:
        case nir.Affine():
            return nir.Linear(weight=node.weight)
        case LinearNode():
            return node.unbiased()
        case nir.Conv1d() | nir.Conv2d():
            node = copy.copy(node)
            node.bias = np.zeros(len(node.weight))
    return node


def _matrix(chain: Sequence[tuple[str, nir.NIRNode]], pre_shape: Shape, post_shape: Shape) -> Array:
    """Rows are the chain's transpose applied to unit vectors of the post side (vector-Jacobian products)."""
    outputs, inputs = prod(post_shape), prod(pre_shape)
    if outputs * inputs > MAX_NONZERO:
        raise _too_many(chain, f"{outputs * inputs}")
    rows = []
    batch = samples_at_once(max(outputs, inputs), PROBE_BATCH)
    for first in range(0, outputs, batch):
        count = min(batch, outputs - first)
        unit = torch.zeros(count, outputs, dtype=torch.float64)
        unit[torch.arange(count), torch.arange(first, first + count)] = 1.0
        with torch.enable_grad():  # a caller may be in no_grad
            x = torch.zeros(len(unit), *pre_shape, dtype=torch.float64, requires_grad=True)
            y = run_chain(chain, x)
            (row,) = torch.autograd.grad(y, x, unit.reshape(y.shape))
        rows.append(row.reshape(len(unit), -1).numpy())
    return np.concatenate(rows)


def _kernel(nodes: Sequence[nir.NIRNode], pre_shape: Shape) -> Kernel | None:
    """One convolution for a chain of convolutions, pools and uniform scales, where a closed form exists."""
    if len(pre_shape) != 3:
        return None
    total: Kernel | None = None
    channels = pre_shape[0]
    for node in nodes:
        part = _as_kernel(node, channels)
        if part is None:
            return None
        channels = part.weight.shape[0]
        total = part if total is None else _join(total, part)
        if total is None:
            return None
    return total


def _as_kernel(node: nir.NIRNode, channels: int) -> Kernel | None:
    match node:
        case nir.Conv2d():
            if isinstance(node.padding, str):
                return None
            stride, padding, dilation = (pair(value) for value in (node.stride, node.padding, node.dilation))
            return Kernel(np.asarray(node.weight, np.float64), stride, padding, dilation, int(node.groups))
        case LinearNode():
            found = node.op.kernel(node.arrays, node.before)
            return None if found is None else Kernel(*found)
        case nir.AvgPool2d() | nir.SumPool2d():
            size = pair(node.kernel_size)
            if channels * prod(size) > MAX_KERNEL:
                return None
            height = 1.0 / (size[0] * size[1]) if isinstance(node, nir.AvgPool2d) else 1.0
            return Kernel(
                np.full((channels, 1, *size), height), pair(node.stride), pair(node.padding), (1, 1), channels
            )
        case nir.Scale():
            scale = np.asarray(node.scale, np.float64)
            if scale.ndim == 0 or scale.size == 1 or (scale == scale.ravel()[0]).all():
                return Kernel(np.full((channels, 1, 1, 1), scale.ravel()[0]), (1, 1), (0, 0), (1, 1), channels)
            return None
        case _:
            return None


def _join(first: Kernel, second: Kernel) -> Kernel | None:
    """second(first(x)) as one convolution; known where one of the two works on each channel alone.

    Kernel positions of `second` lie first.stride * second.dilation pixels apart; stride and padding multiply and add.
    Holds inside the image; `_agrees` decides about its borders.
    """
    single_first = first.groups == first.weight.shape[0] and first.weight.shape[1] == 1
    single_second = second.groups == second.weight.shape[0] and second.weight.shape[1] == 1
    if not (single_first or single_second):
        return None
    b = second.weight
    extent = tuple((k - 1) * d + 1 for k, d in zip(first.weight.shape[2:], first.dilation, strict=True))
    step = tuple(s * d for s, d in zip(first.stride, second.dilation, strict=True))
    size = tuple((k - 1) * t + n for k, t, n in zip(b.shape[2:], step, extent, strict=True))
    outputs, inputs = b.shape[0], b.shape[1] if single_first else first.weight.shape[1]
    if max(outputs * inputs * prod(size), prod(first.weight.shape[:2]) * prod(extent)) > MAX_KERNEL:
        return None
    a = _spread(first.weight, first.dilation)
    weight = np.zeros((outputs, inputs, *size))
    for i in range(b.shape[2]):
        for j in range(b.shape[3]):
            rows, cols = (slice(k * t, k * t + n) for k, t, n in zip((i, j), step, a.shape[2:], strict=True))
            weight[:, :, rows, cols] += _product(a, b[:, :, i, j], second.groups, single_first)
    stride = tuple(s * t for s, t in zip(first.stride, second.stride, strict=True))
    padding = tuple(p + s * q for p, s, q in zip(first.padding, first.stride, second.padding, strict=True))
    groups = second.groups if single_first else first.groups
    return Kernel(weight, pair(stride), pair(padding), (1, 1), groups)


def _product(a: Array, b: Array, groups: int, single_first: bool) -> Array:
    """One tap of `second` (C_out, C_mid / groups) times the whole kernel of `first`."""
    if not single_first:  # second works channel by channel: its tap scales the first's output channels
        return np.asarray(a * b[:, :1, None, None])
    outputs, inputs = b.shape
    channel = (np.arange(outputs) // (outputs // groups))[:, None] * inputs + np.arange(inputs)  # of the middle tensor
    return np.asarray(b[:, :, None, None] * a[channel, 0])


def _spread(weight: Array, dilation: tuple[int, int]) -> Array:
    """A dilated kernel with its holes written out as zeros."""
    if dilation == (1, 1):
        return weight
    size = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
    out = np.zeros((*weight.shape[:2], *size))
    out[:, :, :: dilation[0], :: dilation[1]] = weight
    return out


def _agrees(found: Composed, chain: Sequence[tuple[str, nir.NIRNode]], pre_shape: Shape, post_shape: Shape) -> bool:
    x = np.random.default_rng(0).standard_normal((2, *pre_shape))
    want = run_chain(chain, torch.from_numpy(x)).numpy()
    if not found.kind.fits(found.arrays, pre_shape, tuple(post_shape)):
        return False
    have = found.kind.apply(found.arrays, x, post_shape)
    return bool(np.allclose(have, want, rtol=1e-9, atol=1e-9 * max(1.0, float(np.abs(want).max()))))


def _probe(chain: Sequence[tuple[str, nir.NIRNode]], pre_shape: Shape, post_shape: Shape) -> Composed:
    """The chain's matrix, column by column, kept sparse."""
    size = prod(pre_shape)
    columns = []
    stored = 0
    batch = samples_at_once(max(size, prod(post_shape)), PROBE_BATCH)
    for first in range(0, size, batch):
        count = min(batch, size - first)
        x = torch.zeros(count, size, dtype=torch.float64)
        x[torch.arange(count), torch.arange(first, first + count)] = 1.0
        columns.append(sparse.csr_matrix(run_chain(chain, x.reshape(count, *pre_shape)).reshape(count, -1).numpy()))
        stored += columns[-1].nnz
        if stored > MAX_NONZERO:
            raise _too_many(chain, f"more than {stored}")
    matrix = sparse.vstack(columns).T.tocsr()
    if not matrix.nnz:  # it reads padding only: one synapse of weight 0 stands for the way
        matrix = sparse.csr_matrix((np.zeros(1), (np.zeros(1, int), np.zeros(1, int))), matrix.shape)
    matrix.sort_indices()
    arrays = {"": matrix.data, "/indices": matrix.indices.astype(np.int64), "/indptr": matrix.indptr.astype(np.int64)}
    return Composed(Sparse(""), arrays)


def _too_many(chain: Sequence[tuple[str, nir.NIRNode]], stored: str) -> LoweringError:
    return LoweringError(
        "too-many-synapses",
        "a chain of linear layers has no closed form and too many synapses",
        where=" -> ".join(name for name, _ in chain),
        needed=stored,
        limit=MAX_NONZERO,
        hint="put a neuron between the layers, or merge them before import",
    )
