"""Convolutions read at one candidate of every window of a max-pool, and what lifts that candidate to the maximum.

max(a, b) = a + relu(b - a): a maximum is one of its candidates, the anchor, plus what relays of differences add to it
(`snnhw/lowering/maxima.py`). So what reaches a neuron is the anchor's range and nothing above the largest candidate,
although anchor and relays apart could reach more: `Candidate.reach` answers for all of them, `Lift.reach` for none.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from snnhw.operators.base import Array, Ints, Operator, Shape, Some, Weights
from snnhw.operators.conv import Conv
from snnhw.operators.conv1d import Conv1d
from snnhw.operators.diagonal import Diagonal
from snnhw.operators.windows import Kernels, Relation

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """Windows of a max-pool along each axis of an image, as torch.nn.MaxPool1d and MaxPool2d have them."""

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    ceil: bool = False

    def extent(self, axis: int, size: int) -> int:
        """Windows along an axis (0, ...) of so many values."""
        padding, stride = self.padding[axis], self.stride[axis]
        room = size + 2 * padding - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        if not self.ceil:
            return room // stride + 1
        found = -(-room // stride) + 1
        return found - ((found - 1) * stride >= size + padding)  # the last window begins inside

    def candidates(self, axis: int, size: int) -> Ints:
        """Coordinates of each window's candidates, those inside first and ascending, -1 behind them:
        (kernel, windows). Padding and what is cut off are no candidates."""
        start = np.arange(self.extent(axis, size)) * self.stride[axis] - self.padding[axis]
        at = start + np.arange(self.kernel[axis])[:, None] * self.dilation[axis]
        outside = (at < 0) | (at >= size)
        order = np.argsort(outside, axis=0, kind="stable")
        return np.take_along_axis(np.where(outside, -1, at), order, axis=0)


@dataclass(frozen=True)
class Candidate(Kernels):
    """Of every window of a pool over a convolution the value of one candidate, 0 where the window has fewer.

    `weight` names the convolution's array (C_out, C_in / groups, *kernel). Shared weights, as of the convolution.

    Args:
        stride, padding, dilation, groups: of the convolution.
        pool: kernel, stride, padding and dilation of the pool, and whether it has ceil_mode.
        rank: which candidate along each axis, as `Pool.candidates` orders them.
        span: how many candidates along each axis, from `rank` on, the maximum is over that it is the anchor of.
        beside: only where the window has a candidate of this rank, too: else there is no difference from it.
    """

    weight: str
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int
    pool: tuple[Sizes, Sizes, Sizes, Sizes, bool]
    rank: Sizes
    span: Sizes
    beside: Sizes

    @property
    def windows(self) -> Pool:
        """The pool."""
        return Pool(*self.pool)

    @property
    def plain(self) -> Conv | Conv1d:
        """The convolution itself."""
        kind: Any = Conv if len(self.stride) == 2 else Conv1d
        found: Conv | Conv1d = kind(self.weight, self.stride, self.padding, self.dilation, self.groups)
        return found

    def extent(self, axis: int, size: int, kernel: int) -> int:
        return self.windows.extent(axis - 1, self.plain.extent(axis, size, kernel))

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        w, axes = weights[self.weight], len(self.stride)
        if {len(pre), len(post), w.ndim - 1} != {axes + 1} or post[0] % self.groups:
            return False
        inside = all(0 <= at < n for at, n in zip(self.rank, self.windows.kernel, strict=True))
        return bool(inside and w.shape[1] * self.groups == pre[0] and self.shape(weights, pre) == post)

    def coordinates(self, axis: int, weights: Weights, pre: Shape) -> Ints:
        """Along an axis (1, ...) of the convolution's output: where each window's candidate is, -1 for none."""
        size = self.plain.extent(axis, pre[axis], weights[self.weight].shape[axis + 1])
        found = self.windows.candidates(axis - 1, size)
        return np.where(found[self.beside[axis - 1]] < 0, -1, found[self.rank[axis - 1]])

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        kernel, at = weights[self.weight].shape[axis + 1], self.coordinates(axis, weights, pre)
        taps = np.arange(kernel)[:, None] * self.dilation[axis - 1]
        read = np.where(at < 0, -1, at * self.stride[axis - 1] - self.padding[axis - 1] + taps)
        return Relation.of(read, np.arange(post[axis]), (pre[axis], post[axis], kernel))

    def forward(self, weight: Any, x: Any, post: Shape) -> Any:
        """As a convolution of larger stride where candidates are evenly spaced, else picked from the whole one."""
        from torch import as_tensor
        from torch.nn import functional

        conv: Any = functional.conv2d if len(self.stride) == 2 else functional.conv1d
        given, pre = {self.weight: weight}, tuple(x.shape[1:])
        at = [self.coordinates(axis, given, pre) for axis in range(1, len(pre))]
        steps = [_step(one) for one in at]
        if all(steps):
            ends: list[int] = []
            for axis in range(len(at) - 1, -1, -1):
                reach = (weight.shape[axis + 2] - 1) * self.dilation[axis]
                first, last = (int(at[axis][end]) * self.stride[axis] - self.padding[axis] for end in (0, -1))
                ends += [-first, last + reach - (pre[axis + 1] - 1)]
            strides = [n * step for n, step in zip(self.stride, steps, strict=True)]
            return conv(functional.pad(x, ends), weight, None, strides, 0, self.dilation, self.groups)
        y = conv(x, weight, None, self.stride, self.padding, self.dilation, self.groups)
        for axis, one in enumerate(at, start=2):
            there = (one >= 0).reshape([-1 if n == axis else 1 for n in range(y.dim())])
            y = y.index_select(axis, as_tensor(np.maximum(one, 0))) * as_tensor(there)
        return y

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        return Operator.adjoint(self, weights, y, pre)  # overlapping windows may share a candidate

    def fan_out(self, weights: Weights, pre: Shape, post: Shape, *, nonzero: bool = False) -> Ints:
        return Operator.fan_out(self, weights, pre, post, nonzero=nonzero)

    def reach(self, weights: Weights, low: float, high: float, pre: Shape, post: Shape) -> tuple[Array, Array]:
        """Of the maximum that it is the anchor of, of its negative, or of a mixture by channels: the range of all of
        its candidates."""
        ranges = (range(at, at + n) for at, n in zip(self.rank, self.span, strict=True))
        one = tuple(1 for _ in self.span)
        ends = [
            Kernels.reach(replace(self, rank=rank, span=one, beside=rank), weights, low, high, pre, post)
            for rank in itertools.product(*ranges)
        ]
        bottoms, tops = (reducing(parts) for reducing, parts in zip(_HULL, zip(*ends, strict=True), strict=True))
        out = self._nothing_beside(weights, pre)  # what lifts the anchor still comes, and that alone
        return np.where(out, np.minimum(bottoms - tops, 0), bottoms), np.where(out, np.maximum(tops - bottoms, 0), tops)

    def _nothing_beside(self, weights: Weights, pre: Shape) -> Array:
        """Windows, without channels, that have a candidate of its rank and none of the one beside it."""
        free = replace(self, beside=self.rank)
        found = [[op.coordinates(axis, weights, pre) >= 0 for op in (self, free)] for axis in range(1, len(pre))]
        both, mine = (reduce(np.logical_and.outer, side) for side in zip(*found, strict=True))
        return np.asarray(mine & ~both)

    def patches(self, weights: Weights, x: Array, most: int, some: Some) -> Array:
        return self.plain.patches(weights, x, most, some)

    @property
    def text(self) -> str:
        rank, beside, kernel = ("x".join(map(str, n)) for n in (self.rank, self.beside, self.windows.kernel))
        apart = f" beside {beside}" if beside != rank else ""
        return f"candidate[{self.weight}] {rank}{apart} of {kernel} windows of {self.plain.text}"


_HULL = (np.minimum.reduce, np.maximum.reduce)


def _step(at: Ints) -> int:
    """Distance of evenly spaced coordinates; 0 where they are not, or one is missing."""
    if at.min(initial=0) < 0:
        return 0
    steps = np.unique(np.diff(at))
    return 1 if not len(steps) else int(steps[0]) if len(steps) == 1 else 0


@dataclass(frozen=True)
class Lift(Diagonal):
    """What a relay of differences adds to the candidate that a maximum is counted from, one to one."""

    def reach(self, weights: Weights, low: float, high: float, pre: Shape, post: Shape) -> tuple[Array, Array]:
        """Nothing: the anchor's range is that of the whole maximum."""
        nothing = np.zeros(post, np.int64 if weights[self.weight].dtype.kind in "iu" else np.float64)
        return nothing, nothing

    def magnitude(self, weights: Weights, payload: int, pre: Shape, post: Shape) -> int:
        return int(np.abs(np.asarray(weights[self.weight], np.int64)).max(initial=0)) * payload
