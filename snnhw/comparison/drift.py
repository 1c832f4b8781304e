"""How far the firing rates of a layer moved by quantisation."""

from __future__ import annotations

import numpy as np

from snnhw.network import Array


def rate_distance(float_spikes: Array, int_spikes: Array, slots: int) -> float:
    """Earth mover's distance between two distributions over neurons of the mean firing rate, 0..1.

    Args:
        float_spikes, int_spikes: spikes of every neuron, summed over the run.
        slots: samples * T, the most spikes a neuron can have.
    """
    from scipy.stats import wasserstein_distance  # a quarter of all imports, for this one distance

    left, right = (np.asarray(spikes, np.float64).ravel() / slots for spikes in (float_spikes, int_spikes))
    return float(wasserstein_distance(left, right))
