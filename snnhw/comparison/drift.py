"""How far the firing rates of a layer moved by quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnhw.cautions import Caution
from snnhw.comparison.tree import Drift
from snnhw.network import Array

ENOUGH = 1000
"""Spikes of the float network below which a layer's change is chance."""

NAMED, LARGE = 0.02, 0.05
"""Changes of a layer's spikes from which on they are named, and called large."""


def drift(name: str, float_spikes: Array, int_spikes: Array, slots: int) -> Drift:
    """All measures of one layer; arguments as for `rate_distance`."""
    before = np.asarray(float_spikes, np.float64).ravel()
    change = np.asarray(int_spikes, np.float64).ravel() - before
    distance, spikes = rate_distance(float_spikes, int_spikes, slots), before.sum()
    if not spikes:
        return Drift(name, distance)
    return Drift(name, distance, float(change.sum() / spikes), float(np.abs(change).sum() / spikes))


def by_harm(found: list[Drift]) -> tuple[Drift, ...]:
    """The layer whose neurons changed most first."""
    return tuple(sorted(found, key=lambda row: -np.inf if row.neurons is None else row.neurons, reverse=True))


def drifted(found: tuple[Drift, ...], floats: Mapping[str, Array]) -> Iterator[Caution]:
    """Layers that fire enough and whose firing changed by 2 % or more.

    Args:
        floats: spikes of every neuron by population, of the float network.
    """
    for row in found:
        if row.relative is None or abs(row.relative) < NAMED or floats[row.name].sum() < ENOUGH:
            continue
        much = "much " if abs(row.relative) >= LARGE else ""
        yield Caution(
            "rate-drift",
            row.name,
            f"fires {much}{'more' if row.relative > 0 else 'less'} than in the float network",
            f"{row.relative:+.1%} of {int(floats[row.name].sum())} spikes",
            "give the layers up to it more bits (--weight-bits), or calibration samples like these",
        )


def rate_distance(float_spikes: Array, int_spikes: Array, slots: int) -> float:
    """Earth mover's distance between two distributions over neurons of the mean firing rate, 0..1.

    In one dimension it is the area between the two cumulative distributions, which counts have at whole numbers only.

    Args:
        float_spikes, int_spikes: spikes of every neuron, summed over the run; whole numbers.
        slots: samples * T, the most spikes a neuron can have.
    """
    counted = [
        np.bincount(np.asarray(spikes, np.int64).ravel(), minlength=slots + 1) for spikes in (float_spikes, int_spikes)
    ]
    left, right = (np.cumsum(counts) / counts.sum() for counts in counted)
    return float(np.abs(left - right).sum() / slots)
