"""Which neurons of a pre population reach a box of the post population: interval arithmetic, never weights.

A stored synapse counts even where its weight is zero: the chip stores and charges it. Boxes are int64 arrays
(n, axes, 2) of (start, stop); the boxes of a population always are a grid that partitions it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnhw.linear import matrix_of
from snnhw.network import Conv, Dense, Diagonal, Inject, Network, Projection, Shape, Sparse

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Boxes = Mapping[str, Ints]
"""Population name -> its partition."""


def whole(shape: Shape) -> Ints:
    """The one box that holds a population."""
    return np.array([[(0, n) for n in shape]], np.int64)


def grid(shape: Shape, parts: tuple[int, ...], order: tuple[int, ...]) -> Ints:
    """Boxes of near-equal size, `parts` along each axis; the first axis of `order` varies slowest."""
    edges = [np.arange(p + 1, dtype=np.int64) * n // p for n, p in zip(shape, parts, strict=True)]
    index = np.indices([parts[axis] for axis in order]).reshape(len(order), -1)
    boxes = np.empty((index.shape[1], len(shape), 2), np.int64)
    for position, axis in enumerate(order):
        boxes[:, axis, 0] = edges[axis][index[position]]
        boxes[:, axis, 1] = edges[axis][index[position] + 1]
    return boxes


def sizes(boxes: Ints) -> Ints:
    """Neurons of each box."""
    found: Ints = np.prod(boxes[:, :, 1] - boxes[:, :, 0], axis=1)
    return found


def labels(shape: Shape, boxes: Ints) -> Ints:
    """Index of the box that holds each neuron, flattened."""
    found = np.zeros(shape, np.int64)
    for number, box in enumerate(boxes):
        found[tuple(slice(start, stop) for start, stop in box)] = number
    return found.ravel()


def touched(projection: Projection, network: Network[Any], axis: int, parts: Ints) -> Bools:
    """Coordinates of the pre population along `axis` that reach each interval of the post population.

    For Conv and Diagonal only, whose reach is the product of its axes. Returns (parts, extent of the axis).

    Args:
        parts: intervals of the post population, (n, 2).
    """
    op, extent = projection.op, network[projection.pre].shape[axis]
    marks = np.zeros((len(parts), extent), np.bool_)
    for row, (start, stop) in enumerate(parts):
        if isinstance(op, Conv):
            marks[row, _conv_axis(op, network, projection, axis, int(start), int(stop))] = True
        else:
            marks[row, start:stop] = True
    return marks


def _conv_axis(op: Conv, network: Network[Any], projection: Projection, axis: int, start: int, stop: int) -> Ints:
    pre, post = network[projection.pre].shape, network[projection.post].shape
    if axis == 0:
        inputs, outputs = pre[0] // op.groups, post[0] // op.groups
        return np.arange(start // outputs * inputs, ((stop - 1) // outputs + 1) * inputs, dtype=np.int64)
    kernel = network.weights[op.weight].shape[axis + 1]
    stride, padding, dilation = op.stride[axis - 1], op.padding[axis - 1], op.dilation[axis - 1]
    reached = np.arange(start, stop)[:, None] * stride - padding + np.arange(kernel) * dilation
    found: Ints = np.unique(reached[(reached >= 0) & (reached < pre[axis])])
    return found


def axis_counts(
    projection: Projection, network: Network[Any], axis: int, sources: Ints, destinations: Ints
) -> tuple[Ints, Ints, Ints]:
    """How many coordinates of each source interval reach each destination interval along one axis.

    Works on distinct intervals: returns (counts[source, destination], source index, destination index), where the
    indices name the interval of each box.
    """
    (source, source_index), (destination, destination_index) = (intervals(x, axis) for x in (sources, destinations))
    marks = touched(projection, network, axis, destination)
    running = np.concatenate([np.zeros((len(marks), 1), np.int64), np.cumsum(marks, axis=1, dtype=np.int64)], axis=1)
    counts = (running[:, source[:, 1]] - running[:, source[:, 0]]).T
    return counts, source_index, destination_index


def intervals(boxes: Ints, axis: int) -> tuple[Ints, Ints]:
    """(distinct intervals of a grid along one axis in ascending order, the index of each box's interval)."""
    _, first, index = np.unique(boxes[:, axis, 0], return_index=True, return_inverse=True)
    return boxes[first, axis], index.ravel()


def source_mask(projection: Projection, network: Network[Any], box: tuple[tuple[int, int], ...]) -> Bools:
    """Pre neurons with at least one stored synapse into a box of the post population; the pre population's shape.

    This is what placement counts and what a message count has to follow: one message for each spike of a marked
    neuron to the core of the box. Nothing reaches a box by Inject.
    """
    shape = network[projection.pre].shape
    match projection.op:
        case Inject():
            return np.zeros(shape, np.bool_)
        case Dense():
            return np.ones(shape, np.bool_)
        case Sparse():
            inside = np.zeros(network[projection.post].shape, np.bool_)
            inside[tuple(slice(start, stop) for start, stop in box)] = True
            matrix = matrix_of(projection.op, network.weights, int(np.prod(shape)))
            mask = np.zeros(matrix.shape[1], np.bool_)
            mask[matrix[np.flatnonzero(inside.ravel())].indices] = True
            return mask.reshape(shape)
        case Conv() | Diagonal():
            mask = np.ones(shape, np.bool_)
            for axis, interval in enumerate(box):
                along = touched(projection, network, axis, np.array([interval], np.int64))[0]
                mask &= along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            return mask
