"""The reference engine by hand: single neurons whose traces can be computed on paper, and mutants of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw import fixed
from snnhw.engines import reference
from snnhw.engines.base import Needs, Record
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import (
    Array,
    Comparison,
    Diagonal,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)
from tests.generate import PROGRAMMABLE, machine

ONE = {"w": np.array(1)}


def chain(*neurons: IntNeuron, steps: int, skip: int = 0) -> Network[IntNeuron]:
    """One neuron after another behind one input; `skip` more steps of delay into the last."""
    names = ["in", *(f"n{i}" for i in range(len(neurons)))]
    starts = [*range(len(neurons)), len(neurons) + skip]
    cells = [Population("in", (1,), Kind.INPUT, payload=(-99, 99))]
    cells += [
        Population(name, (1,), Kind.NEURON, neuron, start)
        for name, neuron, start in zip(names[1:], neurons, starts[1:], strict=True)
    ]
    links = [
        Projection(f"p{i}", names[i], names[i + 1], Diagonal("w"), starts[i + 1] - starts[i])
        for i in range(len(neurons))
    ]
    return Network(tuple(cells), tuple(links), ONE, steps, Readout("rate", names[-1]))


def traced(network: Network[IntNeuron], x: list[list[int]]) -> dict[str, Array]:
    recorder = Recorder(network, spikes=True, state=True)
    values = np.array(x)[:, :, None]
    ReferenceEngine().run(network, machine(PROGRAMMABLE), [{"in": values}], [recorder])
    return {name: array[..., 0].tolist() for name, array in recorder.arrays().items() if array.ndim == 3}


def neuron(vth: int, **more: object) -> IntNeuron:
    return IntNeuron(0, np.array(vth), np.array(0), act_shift=0, **more, du=4096)  # type: ignore[arg-type]


def test_integrate_and_fire_by_hand() -> None:
    found = traced(chain(neuron(5), steps=5), [[2, 3, 1, 5, 9], [9, -1, 0, 0, 6]])
    assert found["spikes/n0"] == [[0, 0, 1, 0, 1], [1, 0, 0, 0, 0]]
    assert found["v/n0"] == [[2, 5, 0, 5, 0], [0, -1, -1, -1, 5]]


def test_comparison_decides_where_v_meets_the_threshold() -> None:
    x = [[5, 5, 5, 5]]
    assert traced(chain(neuron(5, comparison=Comparison.GT), steps=4), x)["spikes/n0"] == [[0, 1, 0, 1]]
    assert traced(chain(neuron(5, comparison=Comparison.GE), steps=4), x)["spikes/n0"] == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("more", "v"),
    [
        ({"reset": Reset.ZERO}, [0, 3, 0]),
        ({"reset": Reset.SUBTRACT}, [4, 2, 0]),
        ({"reset": Reset.V_RESET, "v_reset": -2}, [-2, 1, 4]),
        ({"reset": Reset.SUBTRACT, "reset_timing": ResetTiming.NEXT_STEP}, [9, 7, 5]),
    ],
)
def test_resets(more: dict[str, object], v: list[int]) -> None:
    assert traced(chain(neuron(5, comparison=Comparison.GE, **more), steps=3), [[9, 3, 3]])["v/n0"] == [v]


def test_multi_spike_counts_whole_thresholds() -> None:
    cell = neuron(3, comparison=Comparison.GE, reset=Reset.SUBTRACT, max_spikes=2)
    found = traced(chain(cell, steps=3), [[7, 0, 9]])
    assert found["spikes/n0"] == [[2, 0, 2]]
    assert found["v/n0"] == [[1, 1, 4]]


def test_lower_clip_and_initial_v() -> None:
    found = traced(chain(neuron(5, v_min=-2, v_init=4), steps=3), [[1, -9, 1], [2, 0, 0]])
    assert found["v/n0"] == [[5, -2, -1], [0, 0, 0]]


class Counts:
    """The two counters of n0."""

    needs, found = Needs(), (0, 0)

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        if population == "n0":
            self.found = (record.overflows["u"], record.overflows["v"])


@pytest.mark.parametrize(("du", "counts"), [(0, (1, 0)), (4096, (0, 3))])
def test_overflow_is_counted_not_hidden(du: int, counts: tuple[int, int]) -> None:
    """40 << 17 is 5/8 of 2**23. Summed in u it turns over once, and v stays inside; summed in v it saturates."""
    big, seen = chain(replace(neuron(1 << 30), du=du, act_shift=17), steps=4), Counts()
    ReferenceEngine().run(big, machine(PROGRAMMABLE), [{"in": np.full((1, 4, 1), 40)}], [seen])
    assert seen.found == counts


def test_bias_of_the_pipeline_fill_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    biased = replace(neuron(4, comparison=Comparison.GE), bias=np.array(1))
    network, x = chain(biased, biased, biased, steps=3, skip=2), [[0, 3, 0], [3, 0, 0]]
    want = traced(network, x)
    assert want["v/n2"][0] == [1, 2, 0]
    begin, calls = reference.Cells.begin_sample, {}

    def skipping_the_first_start(cells: reference.Cells) -> None:
        calls[id(cells)] = calls.get(id(cells), 0) + 1
        if calls[id(cells)] != 2:  # 1: made, 2: the start step of the first sample
            begin(cells)

    monkeypatch.setattr(reference.Cells, "begin_sample", skipping_the_first_start)
    assert traced(network, x)["v/n2"] != want["v/n2"]


@pytest.mark.parametrize("rule", ["held", "decayed", "floored", "reset_to", "reset_subtract"])
def test_every_rule_is_used(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError(rule)

    monkeypatch.setattr(fixed, rule, forbidden)
    resets = chain(*(neuron(0, reset=reset, v_min=-1) for reset in Reset), steps=2)
    with pytest.raises(AssertionError, match=rule):
        traced(resets, [[3, 3]])


def test_no_samples() -> None:
    recorder = Recorder(chain(neuron(5), steps=2), spikes=True)
    ReferenceEngine().run(recorder.network, machine(PROGRAMMABLE), [], [recorder])
    assert not recorder._parts
