"""What a session refuses, and how its inputs and observers' needs are put together."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.engines.base import Events, Needs, Session
from snnhw.engines.fast import FastEngine
from snnhw.engines.kernels import update
from snnhw.engines.lava import engine as lava
from snnhw.errors import DataError, EngineError
from snnhw.network import IntNeuron
from tests.generate import LIF, PROGRAMMABLE, Case, machine, random_case
from tests.recurrent import recurrent_case


def opened(case: Case, needs: Needs | None = None) -> Session:
    return FastEngine().open(case.network, machine(case.profile), needs or Needs())


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        (Needs(frozenset({"n9"})), "bad-needs: the network has no population 'n9'\n  where: n9\n  limit: in0, n1"),
        (
            Needs(state={"n1": frozenset({"w"})}),
            "bad-needs: the population has no state 'w'\n  where: n1\n  limit: u, v",
        ),
        (
            Needs(state={"in0": frozenset({"v"})}),
            "bad-needs: the population has no state 'v'\n  where: in0\n  limit: none",
        ),
    ],
)
def test_needs_name_what_is_there(needs: Needs, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        opened(random_case(0, PROGRAMMABLE, flavour="dense"), needs)
    assert str(caught.value).startswith(text)


def test_needs_of_observers_add_up() -> None:
    one = Needs(frozenset("a"), {"n": frozenset("u")}, frozenset("x"), {"n": np.zeros(2)})
    both = one | Needs(frozenset("b"), {"n": frozenset("v"), "m": frozenset("u")})
    assert (both.spikes, both.events, list(both.active)) == ({"a", "b"}, {"x"}, ["n"])
    assert both.state == {"n": {"u", "v"}, "m": {"u"}}
    with pytest.raises(AssertionError, match="two groupings of n"):
        one | Needs(active={"n": np.ones(2)})


def test_values_of_several_inputs_are_given_by_name() -> None:
    case = random_case(0, PROGRAMMABLE, flavour="inject")
    with pytest.raises(DataError) as caught:
        opened(case).advance(next(iter(case.stream.values())))
    assert str(caught.value).startswith("bad-shape: the network has several inputs\n  where: x\n  needed: in0, in1")


def test_samples_keep_their_number_until_they_end() -> None:
    case = random_case(0, PROGRAMMABLE, flavour="dense", samples=3)
    session, x = opened(case), case.stream["in0"]
    session.advance(x[:, :1])
    with pytest.raises(DataError, match="bad-shape: the values do not fit the input population") as caught:
        session.advance(x[:2, 1:])
    size = case.network["in0"].shape[0]
    assert (caught.value.where, caught.value.needed) == ("in0", f"(3, steps, {size})")
    assert (session.steps, session.samples) == (1, 3)
    session.reset()
    session.advance(x[:2, :1])
    assert (session.steps, session.samples) == (1, 2)


def test_a_state_is_of_its_network() -> None:
    case = random_case(2, PROGRAMMABLE, flavour="residual")
    session = opened(case)
    assert session.state == {"steps": 0}
    session.advance(case.stream)
    saved = session.state
    cut = {key: x[..., None] if key == "v/n1" else x for key, x in saved.items()}
    fewer = {key: x[:1] if key == "v/n1" else x for key, x in saved.items()}
    for wrong in (cut, fewer, {"steps": 1, "v/n1": saved["v/n1"]}, {}):
        with pytest.raises(EngineError, match="bad-state: this is not a state of a session on this network"):
            session.state = wrong
    assert session.steps == case.network.steps
    saved["v/n1"][:] = 0
    assert (session.state["v/n1"] != 0).any(), "it is a copy"
    session.state = {"steps": np.array(0)}
    assert session.samples is None


def test_a_state_holds_spikes_that_a_neuron_can_send() -> None:
    """Engines choose the width of their numbers by what a population sends."""
    case = recurrent_case(0, PROGRAMMABLE)
    session = opened(case)
    session.advance(case.stream)
    saved = session.state
    late = next(key for key in saved if key.startswith("past/") and not key.startswith("past/in"))
    for value in (300, -1):
        wrong = {key: np.full_like(x, value) if key == late else x for key, x in saved.items()}
        with pytest.raises(
            EngineError, match="the state holds spikes that no neuron of the population sends"
        ) as caught:
            session.state = wrong
        assert (caught.value.code, caught.value.where) == ("bad-state", late)


def test_events_of_no_steps() -> None:
    found = Events.of(np.zeros((2, 0, 3), np.int8))
    assert (len(found.neurons), found.ends.tolist(), found.steps) == (0, [0], 0)


@pytest.mark.lava
def test_lava_runs_whole_samples_only() -> None:
    case = random_case(0, LIF, flavour="dense", samples=2)
    session = lava.LavaEngine().open(case.network, machine(LIF), Needs.everything(case.network))
    with pytest.raises(EngineError) as caught:
        session.advance(case.stream["in0"][:, :1])
    assert str(caught.value) == (
        "no-streaming: the lava engine runs whole samples only\n  needed: 1 steps\n  limit: 4 steps of new samples\n"
        "  hint: reset() before new samples; engine='fast' takes any number of steps"
    )
    whole = session.advance(case.stream)
    want = FastEngine().open(case.network, machine(LIF), Needs.everything(case.network)).advance(case.stream)
    for name, record in want.items():
        for what in ("spikes", *record.state):
            np.testing.assert_array_equal(whole[name].get(what, name), record.get(what, name))
        assert whole[name].overflows == record.overflows
    for again in (lambda: session.advance(case.stream), lambda: session.state):
        with pytest.raises(EngineError, match="no-streaming: the lava engine runs whole samples only"):
            again()


def test_a_run_that_only_counts_makes_no_states() -> None:
    """The kernel counts active updates itself, by label; a neuron at rest that hears nothing is none."""
    neuron = IntNeuron(0, np.array(100), np.array(0), act_shift=0, du=4096)
    a = np.zeros((4, 3, 2), np.int64)
    a[:3, :, 0] = 1
    a[3, 1:] = 5
    found = update(neuron, True, a, want=(), labels=np.arange(2, dtype=np.int32))
    assert [x.size for x in found.state.values()] == [0, 0]
    assert found.active.tolist() == [[[1, 0]] * 3] * 3 + [[[0, 0], [1, 1], [1, 1]]]
    case = random_case(0, PROGRAMMABLE, flavour="dense")
    labels = {p.name: np.zeros(p.size, np.int32) for p in case.network.computed}
    assert all(not r.state for r in opened(case, Needs(active=labels)).advance(case.stream).values())
