"""Sessions: however the sample steps are cut into calls, the bits are those of the whole run, in every engine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from snnhw.engines.base import Engine, Needs, Record, Session, by_step
from snnhw.engines.choose import ENGINES, integer_engine
from snnhw.network import Array, Inject, ResetTiming
from tests.generate import FLAVOURS, LIF, PROGRAMMABLE, Case, machine, random_case
from tests.recurrent import FORMS, recurrent_case

STREAMING = [integer_engine(name) for name in ENGINES if name != "lava"]
KINDS = [(random_case, flavour) for flavour in sorted(set(FLAVOURS))] + [(recurrent_case, form) for form in FORMS]
Arrays = dict[tuple[str, str], Array]


def longer(case: Case, steps: int) -> dict[str, Array]:
    """Input of more steps than the network's: the stream again and again."""
    return {name: np.concatenate([x] * -(-steps // x.shape[1]), axis=1)[:, :steps] for name, x in case.stream.items()}


def opened(engine: Engine, case: Case, needs: Needs | None = None) -> Session:
    return engine.open(case.network, machine(case.profile), needs or Needs.everything(case.network))


def part(x: Mapping[str, Array], begin: int, end: int) -> dict[str, Array]:
    return {name: values[:, begin:end] for name, values in x.items()}


def arrays(parts: list[dict[str, Record]]) -> tuple[Arrays, dict[str, dict[str, int]]]:
    """Arrays of calls that followed each other, and what overflowed in all of them."""
    found: Arrays = {}
    for name, record in parts[0].items():
        for what in ("spikes", *record.state):
            found[name, what] = np.concatenate([p[name].get(what, name) for p in parts], axis=1)
    return found, {
        name: {state: sum(p[name].overflows[state] for p in parts) for state in record.overflows}
        for name, record in parts[0].items()
    }


def same(one: tuple[Arrays, object], other: tuple[Arrays, object]) -> None:
    assert one[0].keys() == other[0].keys()
    for key, values in one[0].items():
        np.testing.assert_array_equal(values, other[0][key], err_msg=str(key))
    assert one[1] == other[1]


@pytest.mark.parametrize(("make", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_any_cut_is_the_whole_run(make: object, kind: str) -> None:
    """Random cuts, calls of no steps among them, twice as long as the network's T; one state serves all engines."""
    flavour = {"flavour": kind} if make is random_case else {"form": kind}
    rng = np.random.default_rng(len(kind))
    profile = LIF if kind in ("dense", "self", "late") else PROGRAMMABLE
    case: Case = make(1, profile, samples=2, **flavour)  # type: ignore[operator]
    steps = 2 * case.network.steps
    x = longer(case, steps)
    want = arrays([opened(STREAMING[0], case).advance(x)])
    for i, engine in enumerate(STREAMING):
        session, following = opened(engine, case), STREAMING[(i + 1) % len(STREAMING)]
        cuts = [0, *sorted(rng.integers(0, steps + 1, 3)), steps]
        middle = len(cuts) // 2
        parts = [session.advance(part(x, a, b)) for a, b in pairwise(cuts[: middle + 1])]
        first = {key: values[:, : cuts[middle]] for key, values in want[0].items()}
        same((first, None), (arrays(parts)[0], None))
        other = opened(following, case)
        other.state = session.state
        assert other.state.keys() == session.state.keys()
        for resumed in (session, other):
            rest = [resumed.advance(part(x, a, b)) for a, b in pairwise(cuts[middle:])]
            same(want, arrays(parts + rest))
            assert resumed.steps == steps
        resumed_state = session.state
        assert all(np.array_equal(values, resumed_state[key]) for key, values in other.state.items())


@pytest.mark.parametrize("engine", STREAMING, ids=lambda engine: engine.name)
@pytest.mark.parametrize("end", ["reset", "drain"])
def test_samples_that_follow_hear_nothing_of_the_last(engine: Engine, end: str) -> None:
    """Stopped early, in the middle of everything; then as many samples, then fewer."""
    for kind, form in ((random_case, {"flavour": "lagged"}), (recurrent_case, {"form": "constant"})):
        case: Case = kind(3, PROGRAMMABLE, samples=3, **form)  # type: ignore[operator]
        x, session = case.stream, opened(engine, case)
        want = arrays([opened(engine, case).advance(x)])
        session.advance(part(x, 0, 3))
        getattr(session, end)()
        same(want, arrays([session.advance(x)]))
        getattr(session, end)()
        fewer = arrays([session.advance({name: values[1:] for name, values in x.items()})])[0]
        same(({key: values[1:] for key, values in want[0].items()}, None), (fewer, None))


@pytest.mark.parametrize("engine", STREAMING, ids=lambda engine: engine.name)
def test_what_is_needed_is_made_and_nothing_else(engine: Engine) -> None:
    case = random_case(2, PROGRAMMABLE, flavour="residual")
    names = [p.name for p in case.network.computed]
    labels = np.zeros(case.network[names[0]].size, np.int32)
    needs = Needs(frozenset(names[-1:]), {names[0]: frozenset({"v"})}, frozenset(names[:2]), {names[0]: labels})
    whole, found = opened(engine, case).advance(case.stream), opened(engine, case, needs).advance(case.stream)
    assert list(found) == [p.name for p in case.network.populations]
    assert [name for name, r in found.items() if r.spikes is not None] == names[-1:]
    assert {name: set(r.state) for name, r in found.items() if r.state} == {names[0]: {"v"}}
    assert [name for name, r in found.items() if r.events is not None] == names[:2]
    assert [name for name, r in found.items() if r.active is not None] == names[:1]
    assert {name: r.overflows for name, r in found.items()} == {name: r.overflows for name, r in whole.items()}
    np.testing.assert_array_equal(found[names[0]].state["v"], whole[names[0]].state["v"])


@pytest.mark.parametrize("engine", STREAMING, ids=lambda engine: engine.name)
def test_events_are_the_spikes_step_by_step(engine: Engine) -> None:
    case = random_case(5, PROGRAMMABLE, flavour="sums", samples=3)
    everything = frozenset(p.name for p in case.network.populations)
    found = opened(engine, case, Needs(everything, events=everything)).advance(case.stream)
    rebuilt = {name: np.zeros_like(r.get("spikes", name)) for name, r in found.items()}
    order = []
    for sample, step, name, neurons, values in by_step(found):
        order.append((sample, step, list(found).index(name)))
        rebuilt[name][sample, step].reshape(-1)[neurons] = values
    assert order == sorted(order)
    assert len({name for _, _, name in order}) > 3
    for name, record in found.items():
        np.testing.assert_array_equal(rebuilt[name], record.spikes)


def test_active_updates_are_the_same_in_every_engine() -> None:
    """By labels, over a cut: v before the first step of a call is that of the last."""
    seen = 0
    for form in ("levels", "two", "graded"):
        case = recurrent_case(4, PROGRAMMABLE, form=form)
        labels = {p.name: np.arange(p.size, dtype=np.int32) % 3 for p in case.network.computed}
        found = []
        for engine in STREAMING:
            session = opened(engine, case, Needs(active=labels))
            parts = [session.advance(part(case.stream, 0, 2)), session.advance(part(case.stream, 2, 6))]
            found.append({n: np.concatenate([p[n].get("active", n) for p in parts], axis=1) for n in labels})
        whole = opened(STREAMING[0], case).advance(case.stream)
        for name, label in labels.items():
            p, record = case.network[name], whole[name]
            u, v, s = (record.get(what, name).reshape(case.samples, 6, -1) for what in ("u", "v", "spikes"))
            start = np.broadcast_to(p.model.v_init, p.shape).ravel()
            before = np.concatenate([np.broadcast_to(start, v[:, :1].shape), v[:, :-1]], axis=1)
            busy = (before != 0) | (u != 0) | (s != 0) | (np.broadcast_to(p.model.bias, p.shape).ravel() != 0)
            want = np.stack([busy[..., label == n].sum(axis=-1) for n in range(label.max() + 1)], axis=-1)
            seen += int((want == 0).sum())
            for one in found:
                np.testing.assert_array_equal(one[name], want, err_msg=name)
    assert seen, "some updates are not active"


def test_the_networks_hold_all_that_outlives_a_call() -> None:
    """Lags within and beyond T, next-step debts, several spikes, injected values, overflow."""
    cases = [random_case(1, PROGRAMMABLE, samples=2, flavour=f) for f in sorted(set(FLAVOURS))]
    nets = [c.network for c in (*cases, *(recurrent_case(1, PROGRAMMABLE, samples=2, form=form) for form in FORMS))]
    lags = [q.lag - n.steps for n in nets for q in n.projections if q.lag]
    assert min(lags) < 0 < max(lags)
    assert any(p.model.reset_timing is ResetTiming.NEXT_STEP for n in nets for p in n.computed)
    assert any(p.model.max_spikes > 1 for n in nets for p in n.computed)
    assert any(isinstance(q.op, Inject) for n in nets for q in n.projections)
