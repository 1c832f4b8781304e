"""A reference with one wrong rule must differ from Lava: otherwise the generated networks would not test that rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from snnhw import fixed
from snnhw.engines import reference
from snnhw.network import Network
from tests.conformance.harness import differences, joined, lava_trace, reference_trace
from tests.generate import LIF, PROGRAMMABLE, Case

pytestmark = pytest.mark.lava

Patch = pytest.MonkeyPatch
TURN = 1 << 24


def _rule(name: str, wrong: Callable[..., Any]) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(fixed, name, wrong)


def _no_reset_at_start(patch: Patch) -> None:
    """Biases that ran while the pipeline filled stay in the membrane of the first sample."""
    begin = reference.Cells.begin_sample

    def after_the_first(cells: reference.Cells) -> None:
        cells.__dict__["calls"] = cells.__dict__.get("calls", 0) + 1
        if cells.__dict__["calls"] != 2:
            begin(cells)

    patch.setattr(reference.Cells, "begin_sample", after_the_first)


def _no_reset_between_samples(patch: Patch) -> None:
    begin = reference.Cells.begin_sample
    patch.setattr(
        reference.Cells, "begin_sample", lambda cells: begin(cells) if "state" not in cells.__dict__ else None
    )


def _u_kept(wrong: Callable[[Any], Any]) -> Callable[[Patch], None]:
    return _rule("held", lambda x, width: wrong(x) if width == fixed.LOIHI.u else _held(x, width))


_spikes, _current, _held, _debtless = fixed.spikes, fixed.current, fixed.held, fixed.membrane

BOTH: dict[str, Callable[[Patch], None]] = {
    "fires at the threshold and above": _rule("spikes", lambda v, vth, ge, most: _spikes(v, vth, 1, most)),
    "wraps as two's complement": _u_kept(lambda x: (x + TURN // 2) % TURN - TURN // 2),
    "does not wrap": _u_kept(lambda x: x),
    "saturates one lower": _rule(
        "held", lambda x, width: _held(x, width) if width != fixed.LOIHI.v else x.clip(-(1 << 23), (1 << 23) - 1)
    ),
    "decays towards minus infinity": _rule("decayed", lambda x, d, bits: (x * ((1 << bits) - d)) >> bits),
    "forgets that Lava's du counts one less": _rule(
        "current", lambda u, a, du, shift, bits: _current(u, a, max(du - 1, 0), shift, bits)
    ),
    "shifts towards zero": _rule("shifted", lambda x, e: x << e if e >= 0 else abs(x) // (1 << -e) * (1 - 2 * (x < 0))),
    "keeps the bias of the pipeline fill": _no_reset_at_start,
    "keeps state between samples": _no_reset_between_samples,
    "keeps v when it fires": _rule("reset_zero", lambda v, s: v),
}
FREE: dict[str, Callable[[Patch], None]] = {
    "fires only above the threshold": _rule("spikes", lambda v, vth, ge, most: _spikes(v, vth, 0, most)),
    "fires once at most": _rule("spikes", lambda v, vth, ge, most: _spikes(v, vth, ge, 1)),
    "does not cap spikes": _rule(
        "spikes", lambda v, vth, ge, most: _spikes(v, vth, ge, most if most == 1 else 1 << 20)
    ),
    "forgets the next-step reset": _rule(
        "membrane", lambda v, u, dv, bias, debt, bits: _debtless(v, u, dv, bias, 0, bits)
    ),
    "subtracts nothing": _rule("reset_subtract", lambda v, s, vth: v),
    "resets to zero for v_reset": _rule("reset_to", lambda v, s, v_reset: v * (s == 0)),
    "has no lower clip": _rule("floored", lambda v, v_min: v),
    "shifts by one less": _rule("current", lambda u, a, du, shift, bits: _current(u, a, du, max(shift - 1, 0), bits)),
}
MUTANTS = [
    pytest.param(profile, mutant, id=f"{profile}: {name}", marks=pytest.mark.xdist_group(f"lava-{profile}-0"))
    for profile, mutants in ((LIF, BOTH), (PROGRAMMABLE, BOTH | FREE))
    for name, mutant in mutants.items()
]


@pytest.mark.parametrize(("profile", "mutate"), MUTANTS)
def test_wrong_rule_is_caught(profile: str, mutate: Callable[[Patch], None], monkeypatch: Patch) -> None:
    case, lava = joined(profile, 0), lava_trace(profile, 0)
    mutate(monkeypatch)
    assert differences(case, lava, reference_trace(case))


def _without_late_arrival(network: Network[Any]) -> Network[Any]:
    return replace(network, projections=tuple(replace(q, delay=max(q.delay - 1, 1)) for q in network.projections))


def _later_start(network: Network[Any]) -> Network[Any]:
    return replace(network, populations=tuple(replace(p, start=p.start + (p.start > 0)) for p in network.populations))


def _delays_reach_the_next_sample(network: Network[Any]) -> Network[Any]:
    return replace(network, projections=tuple(replace(q, lag=0) for q in network.projections))


@pytest.mark.parametrize("change", [_without_late_arrival, _later_start, _delays_reach_the_next_sample])
@pytest.mark.parametrize(
    "profile", [pytest.param(p, marks=pytest.mark.xdist_group(f"lava-{p}-0")) for p in (LIF, PROGRAMMABLE)]
)
def test_wrong_schedule_is_caught(profile: str, change: Callable[[Network[Any]], Network[Any]]) -> None:
    case = joined(profile, 0)
    wrong = Case(change(case.network), case.stream, case.profile, case.flavour)
    assert differences(case, lava_trace(profile, 0), reference_trace(wrong))
