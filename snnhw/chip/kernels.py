"""The loop of the counters that touches every neuron of every sample step, compiled by numba."""

from __future__ import annotations

import numpy as np

from snnhw.engines.compiled import compiled
from snnhw.network import Array


@compiled()
def _events(values, class_of, per_neuron, histogram):  # type: ignore[no-untyped-def]
    rows, size = values.shape
    for r in range(rows):
        for n in range(size):
            if values[r, n] != 0:
                per_neuron[n] += 1
                histogram[r, class_of[n]] += 1


def count_events(values: Array, class_of: Array, classes: int) -> tuple[Array, Array]:
    """Non-zero entries of `values` (rows, neurons): per neuron (int64), and per row and class of neuron (int64)."""
    per_neuron = np.zeros(values.shape[1], np.int64)
    histogram = np.zeros((values.shape[0], classes), np.int64)
    _events(_narrow(values), class_of, per_neuron, histogram)
    return per_neuron, histogram


def _narrow(values: Array) -> Array:
    """One of two integer types, so that only two kernels are ever compiled."""
    return np.ascontiguousarray(values, np.int8 if values.dtype == np.int8 else np.int32)
