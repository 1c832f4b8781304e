"""How far the firing rates of a layer moved by quantisation."""

from __future__ import annotations

import numpy as np

from snnhw.network import Array


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
