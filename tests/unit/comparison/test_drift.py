"""Earth mover's distance against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnhw.comparison.drift import by_harm, drift, drifted, rate_distance

counts = st.lists(st.integers(0, 40), min_size=6, max_size=6)


@given(counts, counts)
def test_equals_mean_distance_of_sorted_rates(left: list[int], right: list[int]) -> None:
    """For equally many neurons the best transport pairs the rates in order."""
    expected = np.mean(np.abs(np.sort(left) - np.sort(right))) / 40
    assert rate_distance(np.array(left), np.array(right), 40) == pytest.approx(expected, abs=1e-12)


def test_a_permutation_of_neurons_is_no_drift() -> None:
    assert rate_distance(np.array([1, 2, 3]), np.array([3, 1, 2]), 4) == 0


def test_neurons_that_swap_are_seen_by_the_change_of_neurons() -> None:
    """The earth mover's distance and the sum are blind to who fires."""
    found = drift("a", np.array([10, 0]), np.array([0, 10]), 10)
    assert (found.distance, found.relative, found.neurons) == (0.0, 0.0, 2.0)
    assert drift("a", np.array([10, 30]), np.array([12, 24]), 40).relative == pytest.approx(-0.1)


def test_against_silence_there_is_no_relative_change() -> None:
    found = drift("a", np.zeros(3), np.array([1, 0, 0]), 10)
    assert (found.relative, found.neurons) == (None, None)
    assert found.distance > 0


def test_layers_come_by_harm_and_are_named_from_2_percent_and_1000_spikes() -> None:
    floats = {"small": [400, 400], "quiet": [0, 0], "less": [1000, 1000], "more": [600, 600], "held": [5000, 5000]}
    integers = {"small": [800, 800], "quiet": [1, 1], "less": [900, 980], "more": [612, 613], "held": [5001, 5050]}
    arrays = [(name, np.array(floats[name]), np.array(integers[name])) for name in floats]
    found = by_harm([drift(name, a, b, 10_000) for name, a, b in arrays])
    assert [row.name for row in found] == ["small", "less", "more", "held", "quiet"]
    said = [str(caution) for caution in drifted(found, {name: a for name, a, _ in arrays})]
    assert said == [
        "rate-drift: less: fires much less than in the float network (-6.0% of 2000 spikes); give the layers up to it "
        "more bits (--weight-bits), or calibration samples like these",
        "rate-drift: more: fires more than in the float network (+2.1% of 1200 spikes); give the layers up to it more "
        "bits (--weight-bits), or calibration samples like these",
    ]
