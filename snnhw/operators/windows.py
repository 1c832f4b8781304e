"""Operators whose synapses are a product: channels in groups, times a relation along every further axis.

Convolutions of all kinds, pools of neurons that are copied, moved or spread, and one-to-one projections are such. What
joins neurons along one axis is a `Relation`; closed forms of values, counts and resources follow here from the
relations of all axes, so that a subclass says little more than how its windows lie.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, ClassVar

import numpy as np

from snnhw.operators.base import (
    Array,
    Entries,
    Ints,
    Operator,
    Shape,
    Weights,
    Words,
    box_sums,
    csr,
    intervals,
    shared_gain,
    wide,
)


@dataclass(frozen=True)
class Relation:
    """Which coordinates along one axis are joined: pre[i] with post[i] by tap[i] of a kernel.

    Of kernels a tap joins a pre coordinate with at most one post coordinate, and a post coordinate with at most one of
    pre; of copies each post coordinate is joined with at most one of pre.

    Args:
        sizes: extents of pre, post and kernel.
    """

    pre: Ints
    post: Ints
    tap: Ints
    sizes: tuple[int, int, int]

    @staticmethod
    def of(pre: Any, post: Any, sizes: tuple[int, int, int]) -> Relation:
        """Of coordinates (kernel, n) that are joined where both lie inside their axes."""
        pre, post = np.broadcast_arrays(np.asarray(pre, np.int64), np.asarray(post, np.int64))
        inside = (pre >= 0) & (pre < sizes[0]) & (post >= 0) & (post < sizes[1])
        return Relation(pre[inside], post[inside], np.nonzero(inside)[0], sizes)

    @property
    def counts(self) -> Any:
        """How many taps join them, CSR (post, pre)."""
        ones = np.ones(len(self.pre), np.int64)
        return csr((ones, (self.post, self.pre)), (self.sizes[1], self.sizes[0]))

    @property
    def taps(self) -> Ints:
        """Whether a tap lies inside, (kernel, post)."""
        found = np.zeros((self.sizes[2], self.sizes[1]), np.int64)
        found[self.tap, self.post] = 1
        return found

    def into(self, parts: Ints) -> Ints:
        """Joins of each pre coordinate with disjoint ascending intervals (n, 2) of post: (n, extent of pre)."""
        place = np.searchsorted(parts[:, 1], self.post, side="right") * self.sizes[0] + self.pre
        return np.bincount(place, minlength=len(parts) * self.sizes[0]).reshape(len(parts), -1).astype(np.int64)

    def joins(self, parts: Ints) -> Ints:
        """Joins of each pre coordinate with intervals (n, 2) of post: (extent of pre, n)."""
        at = np.arange(self.sizes[1])
        inside = (at >= parts[:, :1]) & (at < parts[:, 1:])
        return np.asarray((csr(inside.astype(np.int64)) @ self.counts).toarray()).T

    def back(self, x: Array, axis: int) -> Array:
        """Sums over the post coordinates of each pre coordinate, along one axis of x."""
        moved = np.moveaxis(x, axis, 0)
        summed = np.asarray(self.counts.T @ moved.reshape(len(moved), -1))
        return np.moveaxis(summed.reshape(-1, *moved.shape[1:]), 0, axis)

    def by_tap(self) -> list[tuple[int, Any, Any]]:
        """(tap, pre coordinates, post coordinates) of the taps that lie inside somewhere, as slices where they can."""
        found = []
        for tap in np.unique(self.tap).tolist():
            mine = self.tap == tap
            found.append((tap, _as_slice(self.pre[mine]), _as_slice(self.post[mine])))
        return found


def _as_slice(at: Ints) -> Any:
    """Evenly spaced ascending coordinates as a slice: no copy is made."""
    step = int(at[1] - at[0]) if len(at) > 1 else 1
    if step > 0 and (np.diff(at) == step).all():
        return slice(int(at[0]), int(at[-1]) + 1, step)
    return at


class Windows(Operator, abstract=True):
    """Synapses as a product of channels (the first axis) and of relations (all others)."""

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        """How coordinates along an axis (1, ...) are joined."""
        raise NotImplementedError

    def channels(self, pre: Shape) -> int:
        """Groups of channels: all of a group's pre channels are joined with all its post channels."""
        raise NotImplementedError

    def index(self, weights: Weights, post: Shape, relations: Sequence[Relation]) -> Ints:
        """Places of the weights that synapses read: it broadcasts to (groups, outputs, inputs, *joins of each axis)."""
        raise NotImplementedError

    def relations(self, weights: Weights, pre: Shape, post: Shape) -> list[Relation]:
        """Of all axes but the first."""
        return [self.relation(axis, weights, pre, post) for axis in range(1, len(pre))]

    def places(self, weights: Weights, pre: Shape, post: Shape) -> Any:
        groups, relations = self.channels(pre), self.relations(weights, pre, post)
        inputs, outputs = pre[0] // groups, post[0] // groups
        row: Array
        column: Array
        row, column = np.arange(post[0]).reshape(groups, outputs, 1), np.arange(pre[0]).reshape(groups, 1, inputs)
        for r in relations:
            row = row[..., None] * r.sizes[1] + r.post
            column = column[..., None] * r.sizes[0] + r.pre
        index = self.index(weights, post, relations)
        row, column, index = (x.ravel() for x in np.broadcast_arrays(row, column, index))
        order = np.lexsort((column, row))
        ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=prod(post)))])
        return csr((index[order], column[order], ends), (prod(post), prod(pre)))

    def spread(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints) -> tuple[Ints, Any]:
        """Along every axis coordinates that reach the same intervals equally often are alike; counts are products."""
        from scipy.sparse import kron

        groups = self.channels(pre)
        sides, places = zip(
            *(np.unique(boxes[:, a], axis=0, return_inverse=True) for a in range(len(post))), strict=True
        )
        start = np.arange(groups)[:, None] * (post[0] // groups)
        outputs = np.minimum(sides[0][:, 1], start + post[0] // groups) - np.maximum(sides[0][:, 0], start)
        reached = [np.repeat(outputs.clip(0), pre[0] // groups, axis=0)]
        reached += [r.joins(s) for r, s in zip(self.relations(weights, pre, post), sides[1:], strict=True)]
        label, column = np.zeros((), np.int64), np.zeros(len(boxes), np.int64)
        counts = csr(np.ones((1, 1), np.int64))
        for table, place in zip(reached, places, strict=True):
            rows, kind = np.unique(table, axis=0, return_inverse=True)
            label, column = label[..., None] * len(rows) + kind.ravel(), column * table.shape[1] + place.ravel()
            counts = kron(counts, csr(rows), format="csr")
        return label.ravel(), counts[:, column]

    def fan_in(self, weights: Weights, pre: Shape, post: Shape) -> int:
        most = (int(np.bincount(r.post).max(initial=0)) for r in self.relations(weights, pre, post))
        return pre[0] // self.channels(pre) * prod(most)

    def lists(
        self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, words: Words, shared: bool
    ) -> tuple[Ints, Ints]:
        """Every source has its own list: positions reached along each axis times output channels of the box."""
        inputs = pre[0] // self.channels(pre)
        reached = []
        for axis, r in enumerate(self.relations(weights, pre, post), start=1):
            parts, at = intervals(boxes, axis)
            reached.append(r.into(parts)[at])
        longest, total = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
        for number, box in enumerate(boxes):
            synapses = reduce(np.multiply.outer, [r[number] for r in reached], np.ones((), np.int64))
            for outputs, times in zip(*np.unique(self._outputs(box, pre, post), return_counts=True), strict=True):
                each = words(synapses * outputs)
                longest[number] = max(longest[number], each.max())
                total[number] += each.sum() * inputs * times
        return longest, total

    def _outputs(self, box: Ints, pre: Shape, post: Shape) -> Ints:
        """Output channels in a box that each of its groups holds."""
        per_group = post[0] // self.channels(pre)
        groups = np.arange(box[0, 0] // per_group, (box[0, 1] - 1) // per_group + 1)
        found: Ints = np.minimum(box[0, 1], (groups + 1) * per_group) - np.maximum(box[0, 0], groups * per_group)
        return found

    def axons(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, entries: Entries
    ) -> tuple[Ints, Ints]:
        """Pixels that reach a box times the entries of a pixel's channels; boxes form grids: sums factor into axes."""
        received, sent = np.ones(len(destinations), np.int64), np.ones(len(sources), np.int64)
        relations = self.relations(weights, pre, post)
        for axis in range(len(pre)):
            (source, source_at), (destination, destination_at) = (intervals(x, axis) for x in (sources, destinations))
            reaches = relations[axis - 1].into(destination) > 0 if axis else self._channels_into(destination, pre, post)
            running = np.concatenate([np.zeros((len(reaches), 1), np.int64), np.cumsum(reaches, 1, np.int64)], axis=1)
            between = (running[:, source[:, 1]] - running[:, source[:, 0]]).T  # (sources, destinations)
            entered, left = entries(between) if axis == 0 else (between, between)
            received *= entered.sum(axis=0)[destination_at]
            sent *= left.sum(axis=1)[source_at]
        return received, sent

    def _channels_into(self, parts: Ints, pre: Shape, post: Shape) -> Array:
        """Whether each pre channel reaches intervals (n, 2) of post channels, (n, pre channels)."""
        groups = self.channels(pre)
        group, outputs = np.arange(pre[0]) // (pre[0] // groups), post[0] // groups
        first, last = parts[:, 0] // outputs, (parts[:, 1] - 1) // outputs
        return np.asarray((group >= first[:, None]) & (group <= last[:, None]))

    def received(self, weights: Weights, pre: Shape, post: Shape, rates: Array) -> Array:
        """All post channels of a group receive alike."""
        groups = self.channels(pre)
        found = rates.reshape(groups, -1, *pre[1:]).sum(axis=1)
        for axis, r in enumerate(self.relations(weights, pre, post), start=1):
            moved = np.moveaxis(found, axis, 0)
            joined = np.asarray(r.counts @ moved.reshape(len(moved), -1)).reshape(-1, *moved.shape[1:])
            found = np.moveaxis(joined, 0, axis)
        return np.repeat(found, post[0] // groups, axis=0)

    def traffic(self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, rates: Array) -> tuple[Array, Ints]:
        """What reaches a box is a product of what reaches its interval along each axis."""
        arrived, copies, at = rates, np.ones((), np.int64), []
        relations = self.relations(weights, pre, post)
        for axis in range(len(pre)):
            parts, index = intervals(boxes, axis)
            into = relations[axis - 1].into(parts) > 0 if axis else self._channels_into(parts, pre, post)
            arrived = np.tensordot(arrived, into.astype(np.float64), ((0,), (1,)))  # axes turn: the next one is first
            copies = np.multiply.outer(copies, into.sum(axis=0))
            at.append(index)
        return np.asarray(arrived[tuple(at)]), copies

    def flows(
        self, weights: Weights, pre: Shape, post: Shape, sources: Ints, destinations: Ints, rates: Array
    ) -> Array:
        """As if the neurons of a source box fired alike: what of it reaches a box is a part of its extents."""
        found = np.repeat(box_sums(rates, sources)[:, None], len(destinations), axis=1)
        relations = self.relations(weights, pre, post)
        for axis in range(len(pre)):
            (source, source_at), (parts, at) = intervals(sources, axis), intervals(destinations, axis)
            into = relations[axis - 1].into(parts) > 0 if axis else self._channels_into(parts, pre, post)
            running = np.pad(np.cumsum(into, axis=1), ((0, 0), (1, 0)))
            share = (running[:, source[:, 1]] - running[:, source[:, 0]]) / (source[:, 1] - source[:, 0])
            found = found * share.T[np.ix_(source_at, at)]
        return found


class Kernels(Windows, abstract=True):
    """Windows whose neurons share kernels; `weight` names an array (C_out, C_in / groups, *kernel)."""

    weight: str
    groups: int
    axes: ClassVar[int]
    """Axes of an image without its channels."""
    format = "conv"
    shares_axons = True

    def channels(self, pre: Shape) -> int:
        return self.groups

    def extent(self, axis: int, size: int, kernel: int) -> int:
        """Post neurons along an axis (1, ...) of so many pre neurons."""
        raise NotImplementedError

    def shape(self, weights: Weights, pre: Shape) -> Shape:
        w = weights[self.weight]
        ends = zip(pre[1:], w.shape[2:], strict=True)
        return (w.shape[0], *(self.extent(axis, *sizes) for axis, sizes in enumerate(ends, start=1)))

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        w = weights[self.weight]
        if {len(pre), len(post), w.ndim - 1} != {self.axes + 1} or post[0] % self.groups:
            return False
        return bool(w.shape[1] * self.groups == pre[0] and self.shape(weights, pre) == post)

    def index(self, weights: Weights, post: Shape, relations: Sequence[Relation]) -> Ints:
        w = weights[self.weight]
        index = np.arange(w.size).reshape(self.groups, -1, *w.shape[1:])
        return np.asarray(index[_open([r.tap for r in relations])])

    def _taps(self, weights: Weights, pre: Shape, post: Shape) -> Iterator[tuple[Any, Any, Any]]:
        """(indices of a tap, of the pre and of the post coordinates that it joins), all without channels."""
        for ways in itertools.product(*(r.by_tap() for r in self.relations(weights, pre, post))):
            taps, pres, posts = zip(*ways, strict=True)
            yield taps, _grid(pres), _grid(posts)

    def _grouped(self, w: Array, inputs: int) -> Iterator[tuple[slice, slice]]:
        """Pre and post channels of each group."""
        for g in range(self.groups):
            here, there = inputs // self.groups, len(w) // self.groups
            yield slice(g * here, (g + 1) * here), slice(g * there, (g + 1) * there)

    def apply(self, weights: Weights, x: Array, post: Shape) -> Array:
        """Sum over taps of a product over channels; the textbook definition."""
        x, w = wide(x), self.values(weights)
        y = np.zeros((len(x), *post), np.result_type(x, w))
        for tap, at, to in self._taps(weights, x.shape[1:], post):
            for inputs, outputs in self._grouped(w, x.shape[1]):
                part = np.tensordot(x[:, inputs][(..., *at)], w[(outputs, slice(None), *tap)], axes=(1, 1))
                y[:, outputs][(..., *to)] += np.moveaxis(part, -1, 1)
        return y

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        y, w = wide(y), self.values(weights)
        x = np.zeros((len(y), *pre), np.result_type(y, w))
        for tap, at, to in self._taps(weights, pre, y.shape[1:]):
            for inputs, outputs in self._grouped(w, pre[0]):
                part = np.tensordot(y[:, outputs][(..., *to)], w[(outputs, slice(None), *tap)], axes=(1, 0))
                x[:, inputs][(..., *at)] += np.moveaxis(part, -1, 1)
        return x

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Any) -> Any:
        import torch

        return torch.from_numpy(np.array(weights[self.weight])).to(dtype)

    def reach(self, weights: Weights, low: float, high: float, pre: Shape, post: Shape) -> tuple[Array, Array]:
        """Of whole numbers: every input channel and pixel has the same interval, so the taps of a kernel are added over
        its channels first, and a pixel's bound is the sum of the taps that lie inside the image there."""
        w = weights[self.weight]
        if w.dtype.kind not in "iu":
            return super().reach(weights, low, high, pre, post)
        positive, negative = (part(w, 0).sum(axis=1, dtype=np.int64) for part in (np.maximum, np.minimum))
        ends = (positive * int(low) + negative * int(high), positive * int(high) + negative * int(low))
        for r in self.relations(weights, pre, post):
            ends = tuple(np.tensordot(end, r.taps, axes=(1, 0)) for end in ends)  # type: ignore[assignment]
        return ends

    def fan_out(self, weights: Weights, pre: Shape, post: Shape, *, nonzero: bool = False) -> Ints:
        w = weights[self.weight]
        if not nonzero or (w != 0).all():
            return super().fan_out(weights, pre, post)
        counted: Ints = (
            (w != 0).reshape(self.groups, -1, *w.shape[1:]).sum(axis=1, dtype=np.int64).reshape(-1, *w.shape[2:])
        )
        for r in self.relations(weights, pre, post):  # a tap joins a pre coordinate with one of post, or none
            joined = np.zeros((r.sizes[2], r.sizes[0]), np.int64)
            joined[r.tap, r.pre] = 1
            counted = np.tensordot(counted, joined, axes=(1, 0))
        return np.asarray(counted, np.int64)

    def rows(self, post: Shape) -> Shape:
        return (post[0], *(1 for _ in post[1:]))

    def row_largest(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        w = np.abs(weights[self.weight])
        return np.asarray(w.reshape(len(w), -1).max(axis=1).reshape(self.rows(post)))

    def scaled(self, weights: Weights, factor: Array, pre: Shape, post: Shape, where: str) -> Array:
        w = weights[self.weight]
        if factor.ndim:
            if factor.size != post[0] or factor.shape[0] != post[0]:
                raise shared_gain(where)
            factor = factor.reshape(-1, *(1 for _ in w.shape[1:]))
        return np.asarray(w * factor)

    @property
    def alike(self) -> bool:
        return self.groups == 1

    def lists(
        self, weights: Weights, pre: Shape, post: Shape, boxes: Ints, words: Words, shared: bool
    ) -> tuple[Ints, Ints]:
        """Shared: for each input channel one list of kernel size * output channels of the box."""
        if not shared:
            return super().lists(weights, pre, post, boxes, words, shared)
        kernel = weights[self.weight].shape
        channels, inverse = intervals(boxes, 0)
        longest, total = np.zeros(len(channels), np.int64), np.zeros(len(channels), np.int64)
        for row, interval in enumerate(channels):
            each = words(self._outputs(interval[None], pre, post) * prod(kernel[2:]))
            longest[row], total[row] = each.max(), each.sum() * kernel[1]
        return longest[inverse], total[inverse]


def _grid(at: Sequence[Any]) -> tuple[Any, ...]:
    """Coordinates of several axes as one index: all slices, or arrays that broadcast against each other."""
    if all(isinstance(one, slice) for one in at):
        return tuple(at)
    full = [np.arange(one.start, one.stop, one.step) if isinstance(one, slice) else one for one in at]
    return tuple(np.ix_(*full))


def _open(at: Sequence[Ints]) -> tuple[Any, ...]:
    """All combinations of coordinates along the last axes."""
    return (..., *np.ix_(*at))


class Correlation(Kernels, abstract=True):
    """Post coordinate o and tap k read pre coordinate o * stride - padding + k * dilation, 0 where there is none."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def extent(self, axis: int, size: int, kernel: int) -> int:
        stride, padding, dilation = self.stride[axis - 1], self.padding[axis - 1], self.dilation[axis - 1]
        return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1

    def relation(self, axis: int, weights: Weights, pre: Shape, post: Shape) -> Relation:
        kernel = weights[self.weight].shape[axis + 1]
        to, taps = np.arange(post[axis]), np.arange(kernel)[:, None]
        at = to * self.stride[axis - 1] - self.padding[axis - 1] + taps * self.dilation[axis - 1]
        return Relation.of(at, to, (pre[axis], post[axis], kernel))


class Copies(Windows, abstract=True):
    """One synapse, or none, into each post neuron, within one channel: values are moved, at most scaled.

    `weight` names an array that broadcasts to the post population's shape.
    """

    weight: str
    multiplies = False

    def channels(self, pre: Shape) -> int:
        return pre[0]

    def fits(self, weights: Weights, pre: Shape, post: Shape) -> bool:
        w = weights[self.weight].shape
        tail = post[len(post) - len(w) :]
        broadcasts = len(tail) == len(w) and all(a in (1, b) for a, b in zip(w, tail, strict=True))
        return broadcasts and len(pre) == len(post) and self.shape(weights, pre) == post

    def index(self, weights: Weights, post: Shape, relations: Sequence[Relation]) -> Ints:
        w = weights[self.weight]
        index = np.broadcast_to(np.arange(w.size).reshape(w.shape), post)[:, None, None]
        return np.asarray(index[_open([r.post for r in relations])])

    def moved(self, weights: Weights, x: Array, post: Shape) -> Array:
        """x where it goes, zeros elsewhere."""
        y = np.zeros((len(x), *post), x.dtype)
        relations = self.relations(weights, x.shape[1:], post)
        y[_open([r.post for r in relations])] = x[_open([r.pre for r in relations])]
        return y

    def apply(self, weights: Weights, x: Array, post: Shape) -> Array:
        return self.moved(weights, wide(x), post) * self.values(weights)

    def adjoint(self, weights: Weights, y: Array, pre: Shape) -> Array:
        x = wide(y) * self.values(weights)
        for axis, r in enumerate(self.relations(weights, pre, y.shape[1:]), start=2):
            x = r.back(x, axis)
        return x

    def tensor(self, weights: Weights, pre: Shape, post: Shape, dtype: Any) -> Any:
        import torch

        return torch.from_numpy(np.array(weights[self.weight])).to(dtype)

    def rows(self, post: Shape) -> Shape:
        return post

    def row_largest(self, weights: Weights, pre: Shape, post: Shape) -> Array:
        return np.abs(weights[self.weight])

    def scaled(self, weights: Weights, factor: Array, pre: Shape, post: Shape, where: str) -> Array:
        return np.asarray(weights[self.weight] * factor)
