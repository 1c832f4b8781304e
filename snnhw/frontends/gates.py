"""Logic of spikes as NIR gates: products (AND, IAND), max-pools (OR), levels of a sum of spikes.

NIR has no product and no maximum; both are Threshold nodes over sums. With binary a and s:
a * s = [a + s > 3/2], s * (1 - a) = [s - a > 1/2], max(s...) = [sum > 1/2]. A sum of spikes is a thermometer:
max over a window of x = sum_k max over the window of [x >= k].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.operators.candidate import Pool

Shape = tuple[int, ...]
Add = Callable[[str, nir.NIRNode, list[str], Shape], list[str]]
"""Places a node behind the nodes whose outputs it sums: (name, node, sources, shape of its output)."""

MOST_GATES = 256
"""Products of sums need a gate for every pair of summands."""


@dataclass(frozen=True)
class OneMinus:
    """The value 1 - x of a sum x of nodes, which only a product can use."""

    sources: tuple[str, ...]


def product(
    name: str, left: list[str] | OneMinus, right: list[str] | OneMinus, add: Add, shape_of: Callable[[str], Shape]
) -> list[str]:
    """left * right of spikes (sums of spikes distribute); at most one factor is `1 - x`, and then x is one spike train.

    Args:
        name: of the new nodes; several get a number behind it.
    """
    if isinstance(left, OneMinus):
        left, right = right, left
    if isinstance(left, OneMinus):
        raise _refused(name, "(1 - a) * (1 - b)", "one factor of spikes, s * (1 - a)", "write it as a product of s")
    inverted = isinstance(right, OneMinus)
    others = list(right.sources) if isinstance(right, OneMinus) else right
    if inverted and len(others) != 1:
        raise _refused(name, f"s * (1 - a) where a is a sum of {len(others)}", "a of one spike train", "use AND or ADD")
    pairs = [(one, other) for one in left for other in others]
    if len(pairs) > MOST_GATES:
        raise _refused(name, f"{len(pairs)} gates", f"at most {MOST_GATES} gates", "put a neuron behind long sums")
    found: list[str] = []
    for one, other in pairs:
        if one == other:  # s * s is s, and s * (1 - s) is nothing
            found += [] if inverted else [one]
            continue
        shape = shape_of(one)
        if shape_of(other) != shape:
            raise _refused(name, f"shapes {shape} and {shape_of(other)}", "equal shapes", "make both the same shape")
        unique = name if len(pairs) == 1 else f"{name}.{len(found)}"
        second = add(f"{unique}.not", nir.Scale(np.full(shape, -1.0)), [other], shape) if inverted else [other]
        level = 0.5 if inverted else 1.5
        found += add(unique, nir.Threshold(np.full(shape, level)), [one, *second], shape)
    if not found:
        raise _refused(name, "s * (1 - s)", "two different spike trains", "this product is always 0")
    return found


def max_pool(name: str, pool: Pool, sources: list[str], before: Shape, after: Shape, add: Add) -> list[str]:
    """torch.nn.MaxPool1d or MaxPool2d over a sum of spikes: one OR for each value that the sum can reach."""
    plain = replace(pool, ceil=False)
    floor = tuple(plain.extent(axis, n) for axis, n in enumerate(before[1:]))
    if set(pool.dilation) != {1} or floor != after[1:]:
        raise SourceError(
            "unsupported-option",
            "a max-pool of spikes has dilation, or ceil_mode that adds windows which do not fit",
            where=name,
            hint="use dilation=1 and ceil_mode=False",
        )

    def window(label: str, inputs: list[str]) -> list[str]:
        summed = add(f"{label}.window", _window_sum(pool, before), inputs, after)
        return add(label, nir.Threshold(np.full(after, 0.5)), summed, after)

    if len(sources) == 1:
        return window(name, sources)
    found = window(f"{name}.max1", sources)
    for level in range(2, len(sources) + 1):
        reached = add(f"{name}.level{level}", nir.Threshold(np.full(before, level - 0.5)), sources, before)
        found += window(f"{name}.max{level}", reached)
    return found


def _window_sum(pool: Pool, before: Shape) -> nir.NIRNode:
    """The sum over every window: NIR's own node for images, a convolution of ones for sequences."""
    if len(pool.kernel) == 2:
        kernel, stride, padding = map(np.array, (pool.kernel, pool.stride, pool.padding))
        return nir.SumPool2d(kernel_size=kernel, stride=stride, padding=padding)
    ones, channels = np.ones((before[0], 1, *pool.kernel)), before[0]
    return nir.Conv1d(before[1], ones, pool.stride[0], pool.padding[0], 1, channels, np.zeros(channels))


def _refused(name: str, needed: str, limit: str, hint: str) -> SourceError:
    return SourceError(
        "product", "a product in forward cannot become gates", where=name, needed=needed, limit=limit, hint=hint
    )
