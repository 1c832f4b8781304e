"""Spikes, u, v and the overflow counters of generated networks: Lava 0.10.0 equals the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.network import Kind
from tests.conformance.harness import BATCHES, batch, differences, joined, lava_trace, reference_trace
from tests.generate import FLAVOURS, HIGHEST_RATE, LOWEST_RATE, OVERFLOWING

pytestmark = pytest.mark.lava


@pytest.mark.parametrize(("profile", "number"), BATCHES)
def test_lava_equals_reference(profile: str, number: int) -> None:
    case = joined(profile, number)
    assert differences(case, lava_trace(profile, number), reference_trace(case)) == {}


@pytest.mark.parametrize(("profile", "number"), BATCHES)
def test_networks_are_neither_silent_nor_saturated(profile: str, number: int) -> None:
    whole = lava_trace(profile, number)
    overflows = np.zeros(2, int)
    for i, case in enumerate(batch(profile, number)):
        for population in case.network.computed:
            found = whole.arrays(f"{i}/{population.name}")
            counts = np.array([found["wraps"], found["clips"]])
            overflows += counts
            if case.flavour in OVERFLOWING:
                continue
            assert not counts.any(), (case.flavour, population.name)
            if population.kind is Kind.NEURON:
                rate = np.count_nonzero(found["spikes"]) / found["spikes"].size
                assert LOWEST_RATE <= rate <= HIGHEST_RATE, (case.flavour, population.name, rate)
    assert (overflows > 0).all(), "no network of this batch wraps and saturates"


@pytest.mark.parametrize(("profile", "number"), BATCHES)
def test_batch_holds_every_flavour(profile: str, number: int) -> None:
    assert {case.flavour for case in batch(profile, number)} == set(FLAVOURS)
