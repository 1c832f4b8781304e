"""Words of synaptic memory of a slice. Source: docs/targets.md, "Synaptic memory" (after the NxTF mapper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.linear import matrix_of
from snnhw.machine import Machine
from snnhw.mapping.geometry import Ints, intervals, labels, sizes, touched
from snnhw.network import Conv, Dense, Diagonal, Inject, Network, Projection, Sparse


@dataclass(frozen=True)
class Format:
    """How synapses lie in memory: numbers of `core` and `numeric.weight_bits`."""

    word: int
    weight: int
    entry: int
    prefix: int
    tail: int
    shared: bool

    @staticmethod
    def of(target: Machine) -> Format:
        """The format a target file describes."""
        return Format(
            word=target.core.syn_word_bits,
            weight=target.numeric.weight_bits,
            entry=target.core.entry_synapses,
            prefix=target.core.entry_prefix_bits,
            tail=target.core.list_end_bits,
            shared=target.core.conv_shared,
        )

    def words(self, synapses: Ints, delay: int) -> Ints:
        """Words of one list: entries of at most `entry` synapses, each with a prefix, and the end mark.

        A synapse carries its weight and as many delay bits as `delay - 1` needs (every hop is one step already).
        """
        bits = synapses * (self.weight + (delay - 1).bit_length()) + self.prefix * -(-synapses // self.entry)
        return np.where(synapses > 0, (bits + self.tail) // self.word + 1, 0)


def synaptic_words(population: str, network: Network[Any], target: Machine, boxes: Ints) -> tuple[Ints, Ints]:
    """(words of each slice, words of its longest list).

    Where the target shares lists, projections with the same weights and delay are stored once in a slice.
    """
    fmt = Format.of(target)
    total, longest = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    stored: set[tuple[str, int]] = set()
    for projection in network.into(population):
        lists, count = _lists(projection, network, fmt, boxes)
        longest = np.maximum(longest, lists)
        if fmt.shared and not isinstance(projection.op, Inject):
            key = (projection.op.weight, projection.delay)
            if key in stored:
                continue
            stored.add(key)
        total = total + count
    return total, longest


def _lists(projection: Projection, network: Network[Any], fmt: Format, boxes: Ints) -> tuple[Ints, Ints]:
    """(longest list, all lists) of one projection in words."""
    delay, sources = projection.delay, network[projection.pre].size
    match projection.op:
        case Dense():
            longest = fmt.words(sizes(boxes), delay)
            return longest, sources * longest
        case Diagonal():
            one = fmt.words(np.ones(len(boxes), np.int64), delay)
            return one, sizes(boxes) * one
        case Sparse():
            return _sparse(projection, network, fmt, boxes)
        case Conv() if fmt.shared:
            return _kernels(projection, network, fmt, boxes)
        case Conv():
            return _expanded(projection, network, fmt, boxes)
        case Inject():
            zero = np.zeros(len(boxes), np.int64)
            return zero, zero


def _outputs(op: Conv, network: Network[Any], projection: Projection, box: Ints) -> Ints:
    """Output channels in a box that each of its groups holds."""
    per_group = network[projection.post].shape[0] // op.groups
    groups = np.arange(box[0, 0] // per_group, (box[0, 1] - 1) // per_group + 1)
    ends = np.minimum(box[0, 1], (groups + 1) * per_group)
    found: Ints = ends - np.maximum(box[0, 0], groups * per_group)
    return found


def _kernels(projection: Projection, network: Network[Any], fmt: Format, boxes: Ints) -> tuple[Ints, Ints]:
    """Kernels stored once: for each input channel one list of kernel size * output channels of the slice."""
    op = projection.op
    assert isinstance(op, Conv)
    kernel = network.weights[op.weight].shape
    channels, inverse = intervals(boxes, 0)
    longest, total = np.zeros(len(channels), np.int64), np.zeros(len(channels), np.int64)
    for row, interval in enumerate(channels):
        words = fmt.words(_outputs(op, network, projection, interval[None]) * kernel[2] * kernel[3], projection.delay)
        longest[row], total[row] = words.max(), words.sum() * kernel[1]
    return longest[inverse], total[inverse]


def _expanded(projection: Projection, network: Network[Any], fmt: Format, boxes: Ints) -> tuple[Ints, Ints]:
    """Every source pixel has its own list: rows reached * columns reached * output channels of the slice."""
    op = projection.op
    assert isinstance(op, Conv)
    inputs = network.weights[op.weight].shape[1]
    reached = [_reached(projection, network, axis, boxes[:, axis]) for axis in (1, 2)]
    longest, total = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    for number, box in enumerate(boxes):
        synapses = np.outer(reached[0][number], reached[1][number])
        for outputs in _outputs(op, network, projection, box):
            words = fmt.words(synapses * outputs, projection.delay)
            longest[number] = max(longest[number], words.max())
            total[number] += words.sum() * inputs
    return longest, total


def _reached(projection: Projection, network: Network[Any], axis: int, parts: Ints) -> Ints:
    """Rows (or columns) of each interval that one source row (column) reaches: (intervals, extent of pre)."""
    points = np.arange(network[projection.post].shape[axis], dtype=np.int64)
    marks = touched(projection, network, axis, np.stack([points, points + 1], axis=1))
    running = np.concatenate([np.zeros((1, marks.shape[1]), np.int64), np.cumsum(marks, axis=0, dtype=np.int64)])
    found: Ints = running[parts[:, 1]] - running[parts[:, 0]]
    return found


def _sparse(projection: Projection, network: Network[Any], fmt: Format, boxes: Ints) -> tuple[Ints, Ints]:
    """One list for each source and slice, as long as the source's stored synapses there."""
    assert isinstance(projection.op, Sparse)
    pre, post = network[projection.pre], network[projection.post]
    matrix = matrix_of(projection.op, network.weights, pre.size).tocoo()
    place = labels(post.shape, boxes)[matrix.row]
    pairs, synapses = np.unique(matrix.col.astype(np.int64) * len(boxes) + place, return_counts=True)
    words = fmt.words(synapses.astype(np.int64), projection.delay)
    longest, total = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64)
    np.maximum.at(longest, pairs % len(boxes), words)
    np.add.at(total, pairs % len(boxes), words)
    return longest, total
