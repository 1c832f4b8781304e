"""Spikes, u, v and the overflow counters of generated networks: Lava 0.10.0 equals the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.network import Kind
from tests.conformance.harness import BATCHES, Trace, batch, differences, joined, lava_trace, reference_trace
from tests.generate import FLAVOURS, HIGHEST_RATE, LOWEST_RATE, OVERFLOWING, Case

pytestmark = pytest.mark.lava


@pytest.mark.parametrize(("profile", "number"), BATCHES)
def test_lava_equals_reference(profile: str, number: int) -> None:
    networks, kept = batch(profile, number), lava_trace(profile, number)
    case = joined(profile, number)
    assert differences(case, kept, reference_trace(case)) == {}
    # the comparison says something only if the networks do: every flavour, alive, and overflows where meant
    assert {network.flavour for network in networks} == set(FLAVOURS)
    overflows = sum(checked_overflows(network, f"{i}/", kept) for i, network in enumerate(networks))
    assert np.all(overflows > 0), "no network of this batch wraps and saturates"


def checked_overflows(case: Case, prefix: str, kept: Trace) -> np.ndarray:
    """Wraps and clips of one network of a batch, which must be neither silent nor saturated."""
    total = np.zeros(2, int)
    for population in case.network.computed:
        found = kept.arrays(prefix + population.name)
        counts = np.array([found["wraps"], found["clips"]])
        total += counts
        if case.flavour in OVERFLOWING:
            continue
        if case.flavour != "graded":  # pixels of 255 and an exponent can run past 24 bits: equal bits count
            assert not counts.any(), (case.flavour, population.name)
        if population.kind is Kind.NEURON:
            rate = np.count_nonzero(found["spikes"]) / found["spikes"].size
            assert LOWEST_RATE <= rate <= HIGHEST_RATE, (case.flavour, population.name, rate)
    return total
