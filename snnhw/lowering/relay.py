"""The neuron of relay populations: hands on what arrives, as a spike or as one graded spike."""

from __future__ import annotations

import numpy as np

from snnhw.network import Comparison, FloatNeuron

RELAY_WEIGHT = "relay"
"""Name of the weight 1 of all one-to-one projections into relays."""


def relay_model(largest: int) -> FloatNeuron:
    """v = what arrives, s = v where v >= 1: hands (graded) spikes on unchanged and forgets everything."""
    one, nothing = np.ones(()), np.zeros(())
    return FloatNeuron(v_keep=0.0, threshold=one, bias=nothing, comparison=Comparison.GE, max_spikes=largest)
