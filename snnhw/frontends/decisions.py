"""Comparing spikes with those of another framework, whose floats are rounded otherwise than ours.

A decision so close to its threshold that rounding settles it is excepted, and with it what follows in its sample: a
sample is compared up to its first excepted decision. How many there were is said. A tie of numbers that both sides hold
exactly is no matter of rounding, but of the comparison: such decisions must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnhw.network import Array, FloatNeuron

NEAR = 1e-5
"""Distance of a membrane from its threshold, relative to it, within which a decision is excepted."""

VALUES = 1e-4
"""Tolerance of values that are not spikes, relative to the largest of them: float32 sums."""

Membranes = Callable[[str], tuple[FloatNeuron, Array]]


@dataclass(frozen=True)
class Comparison:
    """Decisions compared, how many differ, how many were excepted, and the place and node of the first difference.

    Args:
        total: decisions that there are.
        cut: samples that were compared up to an excepted decision only.
    """

    compared: int
    different: int
    excepted: int
    first: str
    node: str = ""
    total: int = 0
    cut: tuple[int, ...] = ()


def compare_decisions(
    want: Mapping[str, Array], have: Mapping[str, Array], order: Sequence[str], membranes: Membranes
) -> Comparison:
    """Spikes of both sides, (B, T, ...) by node name.

    Args:
        order: names, in the order in which they are computed within a step.
        membranes: name -> its model and its membranes before each decision, (B, T, ...).
    """
    names = [name for name in order if name in want]
    unequal = {name: want[name] != have[name] for name in names}
    compared = different = excepted = 0
    first = node = ""
    cut: list[int] = []
    for sample in range(len(next(iter(want.values()), ()))):
        start = _first(sample, names, unequal)
        if start is None:
            compared += sum(want[name][sample].size for name in names)
            continue
        step, place = start
        found = unequal[names[place]][sample, step]
        neuron, v = membranes(names[place])
        rounding = near(neuron, v, sample, step) & ~tied(neuron, v, sample, step)
        if rounding[found].all():
            cut.append(sample)
            excepted += int(found.sum())
            until = (step + int(later <= place) for later in range(len(names)))
            compared += sum(want[name][sample, :steps].size for name, steps in zip(names, until, strict=True))
            continue
        compared += sum(want[name][sample].size for name in names)
        different += sum(int(unequal[name][sample].sum()) for name in names)
        index = tuple(int(i) for i in np.argwhere(found)[0])
        node = node or names[place]
        first = first or f"{names[place]}, index (sample, step, neuron...) {(sample, step, *index)}"
    total = sum(want[name].size for name in names)
    return Comparison(compared, different, excepted, first, node, total, tuple(cut))


def _first(sample: int, names: Sequence[str], unequal: Mapping[str, Array]) -> tuple[int, int] | None:
    """(step, place in names) of a sample's first difference."""
    steps = [unequal[name][sample].reshape(len(unequal[name][sample]), -1).any(1) for name in names]
    starts = [(int(at.argmax()), place) for place, at in enumerate(steps) if at.any()]
    return min(starts, default=None)


def near(neuron: FloatNeuron, membranes: Array, sample: int, step: int) -> Array:
    """Whether the membranes of one step are within `NEAR` of a threshold (of a multiple, where spikes are counted)."""
    distance, scale = _distance(neuron, membranes[sample, step])
    return np.asarray(distance <= NEAR * scale)


def tied(neuron: FloatNeuron, membranes: Array, sample: int, step: int) -> Array:
    """Whether the membranes of one step are at a threshold exactly, and no number on the way there needed rounding.

    Membranes that single precision holds (sums of whole weights, say) are the same numbers in both frameworks.
    """
    way = membranes[sample, : step + 1]
    with np.errstate(over="ignore"):
        held = (way.astype(np.float32) == way).all(0)
    return np.asarray(held & (_distance(neuron, membranes[sample, step])[0] == 0))


def _distance(neuron: FloatNeuron, v: Array) -> tuple[Array, Array]:
    """(distance of each membrane from the threshold or the nearest multiple, what it is relative to)."""
    threshold = np.broadcast_to(neuron.threshold, v.shape)
    scale = np.where(threshold == 0, 1.0, np.abs(threshold))
    multiple = np.clip(np.rint(v / scale), 1, neuron.max_spikes) if neuron.max_spikes > 1 else 1.0
    return np.abs(v - multiple * threshold), scale


def close(want: Array, have: Array) -> Array:
    """Whether values that are not spikes are equal but for rounding."""
    scale = max(float(np.abs(want).max(initial=0.0)), float(np.abs(have).max(initial=0.0)))
    return np.asarray(np.abs(want - have) <= VALUES * scale)
