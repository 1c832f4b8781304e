"""The two loops of the counters that touch every neuron of every sample step, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from snnhw.network import Array


@njit(nogil=True, cache=True)
def _events(values, class_of, per_neuron, histogram):  # type: ignore[no-untyped-def]
    rows, size = values.shape
    for r in range(rows):
        for n in range(size):
            if values[r, n] != 0:
                per_neuron[n] += 1
                histogram[r, class_of[n]] += 1


@njit(nogil=True, cache=True)
def _active(spikes, u, v, v_init, biased, slot, out):  # type: ignore[no-untyped-def]
    batch, steps, size = spikes.shape
    for b in range(batch):
        for t in range(steps):
            for n in range(size):
                before = v[b, t - 1, n] if t > 0 else v_init[n]
                if (before != 0) | (u[b, t, n] != 0) | (spikes[b, t, n] != 0) | biased[n]:
                    out[b, t, slot[n]] += 1


def count_events(values: Array, class_of: Array, classes: int) -> tuple[Array, Array]:
    """Non-zero entries of `values` (rows, neurons): per neuron (int64), and per row and class of neuron (int64)."""
    per_neuron = np.zeros(values.shape[1], np.int64)
    histogram = np.zeros((values.shape[0], classes), np.int64)
    _events(_narrow(values), class_of, per_neuron, histogram)
    return per_neuron, histogram


def count_active(spikes: Array, u: Array, v: Array, v_init: Array, biased: Array, slot: Array, slots: int) -> Array:
    """Active updates per sample, step and slot of neurons, int64 (B, T, slots).

    Arrays are (B, T, N), `v_init`, `slot` and `biased` (N,).

    An update is active when v before the step, u, the bias or the spike is not zero (SANA-FE's rule, reference §1,
    with 'an input arrived' read from u: inputs that cancel exactly count as none).
    """
    out = np.zeros((*spikes.shape[:2], slots), np.int64)
    narrow_u, narrow_v, start = (np.ascontiguousarray(x, np.int32) for x in (u, v, v_init))
    _active(_narrow(spikes), narrow_u, narrow_v, start, biased, slot, out)
    return out


def _narrow(values: Array) -> Array:
    """One of two integer types, so that only two kernels are ever compiled."""
    return np.ascontiguousarray(values, np.int8 if values.dtype == np.int8 else np.int32)
