"""Feedback, constants and leaking readouts by hand, in reference and fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines.base import Engine, Needs, Record
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Recorder, step_output
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError
from snnhw.network import (
    Array,
    Comparison,
    Dense,
    Diagonal,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    verify,
)
from tests.generate import PROGRAMMABLE, machine

ENGINES = pytest.mark.parametrize("engine", [ReferenceEngine(), FastEngine()], ids=["reference", "fast"])
ONE = {"w": np.array(1)}


def cell(vth: int = 1, **more: object) -> IntNeuron:
    more.setdefault("comparison", Comparison.GE)
    return IntNeuron(4096, np.array(vth), np.array(0), act_shift=0, **more, du=4096)  # type: ignore[arg-type]


def traced(engine: Engine, network: Network[IntNeuron], x: list[list[int]]) -> dict[str, list[list[int]]]:
    verify(network)
    recorder = Recorder(network, spikes=True, state=True)
    engine.run(network, machine(PROGRAMMABLE), [{"in": np.array(x)[:, :, None]}], [recorder])
    return {name: array[..., 0].tolist() for name, array in recorder.arrays().items() if array.ndim == 3}


def line(neurons: dict[str, IntNeuron], links: list[tuple[str, str, int]], steps: int) -> Network[IntNeuron]:
    """One neuron after another behind an input; links (pre, post, lag)."""
    start = {"in": 0} | {name: i + 1 for i, name in enumerate(neurons)}
    cells = [Population("in", (1,), Kind.INPUT, payload=(0, 9))]
    cells += [
        Population(name, (1,), Kind.NEURON, neuron, start[name], (0, neuron.max_spikes))
        for name, neuron in neurons.items()
    ]
    projections = tuple(
        Projection(f"{pre}->{post}", pre, post, Diagonal("w"), start[post] - start[pre] + lag, 0, lag)
        for pre, post, lag in links
    )
    return Network(tuple(cells), projections, ONE, steps, Readout("rate", cells[-1].name))


@ENGINES
def test_a_neuron_that_hears_itself_fires_until_the_sample_ends(engine: Engine) -> None:
    network = line({"n": cell()}, [("in", "n", 0), ("n", "n", 1)], 5)
    assert traced(engine, network, [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])["spikes/n"] == [
        [0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0],
    ]


@ENGINES
def test_a_loop_of_two_hops_comes_round_in_two_steps(engine: Engine) -> None:
    network = line({"a": cell(), "b": cell()}, [("in", "a", 0), ("a", "b", 0), ("b", "a", 2)], 6)
    found = traced(engine, network, [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    assert found["spikes/a"] == found["spikes/b"] == [[1, 0, 1, 0, 1, 0], [0] * 6]


@ENGINES
def test_graded_spikes_grow_in_a_loop_up_to_their_maximum(engine: Engine) -> None:
    neuron = cell(max_spikes=10, reset=Reset.SUBTRACT)
    network = line({"a": neuron}, [("in", "a", 0), ("a", "a", 1), ("a", "a", 2)], 7)
    assert traced(engine, network, [[1, 0, 0, 0, 0, 0, 0]])["spikes/a"] == [[1, 1, 2, 3, 5, 8, 10]]


@ENGINES
def test_a_constant_fires_at_every_step_of_every_sample(engine: Engine) -> None:
    """Late by one step it reaches its reader from the second step on."""
    one = Population("one", (1,), Kind.GATE, replace(cell(), bias=np.array(1)), 0)
    base = line({"n": cell(2), "m": cell()}, [("in", "n", 0)], 4)
    links = (
        *base.projections,
        Projection("one->n", "one", "n", Dense("one"), 1),
        Projection("one->m", "one", "m", Dense("one"), 3, 0, 1),
    )
    network = replace(
        base, populations=(one, *base.populations), projections=links, weights={**ONE, "one": np.ones((1, 1), int)}
    )
    found = traced(engine, network, [[0, 1, 0, 1], [1, 0, 0, 0]])
    assert found["spikes/one"] == [[1, 1, 1, 1]] * 2
    assert found["spikes/n"] == [[0, 1, 0, 1], [1, 0, 0, 0]]
    assert found["spikes/m"] == [[0, 1, 1, 1]] * 2


@ENGINES
def test_a_leaking_readout_shows_its_membrane(engine: Engine) -> None:
    leaky = IntNeuron(2048, np.array(1), np.array(0), act_shift=0, v_init=16, du=4096)
    base = line({"n": cell()}, [("in", "n", 0)], 3)
    network = replace(
        base,
        populations=(base.populations[0], Population("n", (1,), Kind.ACCUMULATOR, leaky, 1)),
        readout=Readout("membrane", "n"),
    )
    recorder = Recorder(network)
    engine.run(network, machine(PROGRAMMABLE), [{"in": np.array([[[8], [0], [3]], [[0], [0], [0]]])}], [recorder])
    found = recorder.arrays()
    assert found["output"][..., 0].tolist() == [[16, 8, 7], [8, 4, 2]]
    assert found["counts"].ravel().tolist() == [31, 14]


def test_only_loops_go_step_by_step() -> None:
    network = line(
        {"a": cell(), "b": cell(), "c": cell()}, [("in", "a", 0), ("a", "b", 0), ("b", "b", 1), ("b", "c", 0)], 3
    )
    session = FastEngine().open(network, machine(PROGRAMMABLE), Needs())
    assert list(session.loops) == [("b",)]
    assert set(session.inputs) == {"a", "c"}


def test_what_a_loop_reads_is_kept_until_it_has_run() -> None:
    """The input is read by both ends of a loop, and a member by what comes behind it."""
    network = line(
        {"a": cell(), "b": cell(), "c": cell()},
        [("in", "a", 0), ("in", "b", 0), ("a", "b", 0), ("b", "a", 2), ("a", "c", 0)],
        3,
    )
    x = np.ones((2, 3, 1), np.int64)
    names = list(FastEngine().open(network, machine(PROGRAMMABLE), Needs()).advance(x))
    assert names == ["in", "a", "b", "c"]


def test_membranes_need_a_state(rng: np.random.Generator) -> None:
    network = line({"n": cell()}, [("in", "n", 0)], 3)
    network = replace(network, readout=Readout("membrane", "n"))
    with pytest.raises(EngineError, match="no-state: v was not recorded\n  where: n"):
        step_output(network, Record(np.zeros((1, 3, 1))))
    v: Array = rng.integers(-9, 9, (1, 3, 1))
    np.testing.assert_array_equal(step_output(network, Record(state={"v": v})), v)
