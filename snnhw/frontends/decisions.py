"""Comparing spikes with those of another framework, whose floats are rounded otherwise than ours.

A decision so close to its threshold that rounding settles it is excepted, and with it what follows in its sample: a
sample is compared up to its first excepted decision. How many there were is said.
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
    """Decisions compared, how many differ, how many were excepted, and the place and node of the first difference."""

    compared: int
    different: int
    excepted: int
    first: str
    node: str = ""


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
    for sample in range(len(next(iter(want.values()), ()))):
        start = _first(sample, names, unequal)
        if start is None:
            compared += sum(want[name][sample].size for name in names)
            continue
        step, place = start
        found = unequal[names[place]][sample, step]
        if near(*membranes(names[place]), sample, step)[found].all():
            excepted += int(found.sum())
            until = (step + int(later <= place) for later in range(len(names)))
            compared += sum(want[name][sample, :steps].size for name, steps in zip(names, until, strict=True))
            continue
        compared += sum(want[name][sample].size for name in names)
        different += sum(int(unequal[name][sample].sum()) for name in names)
        neuron = tuple(int(i) for i in np.argwhere(found)[0])
        node = node or names[place]
        first = first or f"{names[place]}, index (sample, step, neuron...) {(sample, step, *neuron)}"
    return Comparison(compared, different, excepted, first, node)


def _first(sample: int, names: Sequence[str], unequal: Mapping[str, Array]) -> tuple[int, int] | None:
    """(step, place in names) of a sample's first difference."""
    steps = [unequal[name][sample].reshape(len(unequal[name][sample]), -1).any(1) for name in names]
    starts = [(int(at.argmax()), place) for place, at in enumerate(steps) if at.any()]
    return min(starts, default=None)


def near(neuron: FloatNeuron, membranes: Array, sample: int, step: int) -> Array:
    """Whether the membranes of one step are within `NEAR` of a threshold (of a multiple, where spikes are counted)."""
    v = membranes[sample, step]
    threshold = np.broadcast_to(neuron.threshold, v.shape)
    scale = np.where(threshold == 0, 1.0, np.abs(threshold))
    multiple = np.clip(np.rint(v / scale), 1, neuron.max_spikes) if neuron.max_spikes > 1 else 1.0
    return np.asarray(np.abs(v - multiple * threshold) <= NEAR * scale)


def close(want: Array, have: Array) -> Array:
    """Whether values that are not spikes are equal but for rounding."""
    scale = max(float(np.abs(want).max(initial=0.0)), float(np.abs(have).max(initial=0.0)))
    return np.asarray(np.abs(want - have) <= VALUES * scale)
