"""Earth mover's distance against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnhw.comparison.drift import rate_distance

counts = st.lists(st.integers(0, 40), min_size=6, max_size=6)


@given(counts, counts)
def test_equals_mean_distance_of_sorted_rates(left: list[int], right: list[int]) -> None:
    """For equally many neurons the best transport pairs the rates in order."""
    expected = np.mean(np.abs(np.sort(left) - np.sort(right))) / 40
    assert rate_distance(np.array(left), np.array(right), 40) == pytest.approx(expected, abs=1e-12)


def test_a_permutation_of_neurons_is_no_drift() -> None:
    assert rate_distance(np.array([1, 2, 3]), np.array([3, 1, 2]), 4) == 0
