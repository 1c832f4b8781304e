"""Feedback, constants and per-neuron parameters in Lava: the reference's bits, samples back to back."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from snnhw.engines.fast import FastEngine
from snnhw.engines.lava import LavaEngine
from tests.conformance.harness import Trace, differences, reference_trace, trace
from tests.generate import LIF, PROGRAMMABLE, Case, union
from tests.recurrent import FORMS, feedback, recurrent_case

NETWORKS = 3 * len(FORMS)

PROFILES = [
    pytest.param(profile, marks=pytest.mark.xdist_group(f"lava-recurrent-{profile}")) for profile in (LIF, PROGRAMMABLE)
]
pytestmark = pytest.mark.lava


@cache
def _case(profile: str) -> Case:
    return union([recurrent_case(seed, profile, samples=5) for seed in range(NETWORKS)])


@cache
def _lava(profile: str) -> Trace:
    return trace(LavaEngine(), _case(profile))


@pytest.mark.parametrize("profile", PROFILES)
def test_lava_equals_reference_and_fast(profile: str) -> None:
    case = _case(profile)
    assert len(feedback(case.network)) > NETWORKS
    assert differences(case, _lava(profile), reference_trace(case)) == {}
    assert differences(case, _lava(profile), trace(FastEngine(), case)) == {}


@pytest.mark.parametrize("profile", PROFILES)
def test_spikes_in_flight_would_be_seen(profile: str) -> None:
    """A reference that lets feedback run on into the next sample gives other bits, in most networks that feed back."""
    case = _case(profile)
    loops = {q.name for q in feedback(case.network)}
    running_on = tuple(replace(q, lag=0) if q.name in loops else q for q in case.network.projections)
    wrong = replace(case, network=replace(case.network, projections=running_on))
    found = differences(case, _lava(profile), reference_trace(wrong))
    assert len({key.partition("/")[0] for key in found}) > NETWORKS // 2


@pytest.mark.parametrize("profile", PROFILES)
def test_feedback_one_step_later_would_be_seen(profile: str) -> None:
    case = _case(profile)
    loops = {q.name for q in feedback(case.network)}
    late = tuple(
        replace(q, lag=q.lag + 1, delay=q.delay + 1) if q.name in loops else q for q in case.network.projections
    )
    wrong = replace(case, network=replace(case.network, projections=late))
    found = differences(case, _lava(profile), reference_trace(wrong))
    assert len({key.partition("/")[0] for key in found}) > NETWORKS // 2
