"""The float engine: the rules of FloatNeuron by hand, and the names of its arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines.floating import FloatEngine
from snnhw.network import (
    Comparison,
    Dense,
    Diagonal,
    FloatNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)
from snnhw.semantics import Deployment

HALF = FloatNeuron(v_keep=0.5, threshold=np.array(1.0), bias=np.array(0.25))


def one(neuron: FloatNeuron, kind: Kind = Kind.NEURON, steps: int = 4) -> FloatEngine:
    cells = (Population("in", (1,), Kind.INPUT), Population("n", (1,), kind, neuron, 1))
    links = (Projection("p", "in", "n", Dense("w")),)
    readout = Readout("rate" if kind is Kind.NEURON else "mean", "n")
    network = Network(cells, links, {"w": np.ones((1, 1))}, steps, readout)
    return FloatEngine(network, Deployment(steps, "spikes", (1,), readout.kind))


def spikes(neuron: FloatNeuron, x: list[float]) -> list[float]:
    values = np.array(x).reshape(1, -1, 1)
    return one(neuron, steps=len(x)).values(values)["n"].ravel().tolist()


def test_leak_bias_and_reset() -> None:
    assert spikes(HALF, [1, 0.4, 0.4, 0.4]) == [1, 0, 0, 1]  # v: 1.25 -> 0, 0.65, 0.975, 1.1375


def test_comparison() -> None:
    exact = replace(HALF, v_keep=1.0, bias=np.array(0.0))
    assert spikes(exact, [1, 1, 1, 1]) == [0, 1, 0, 1]
    assert spikes(replace(exact, comparison=Comparison.GE), [1, 1, 1, 1]) == [1, 1, 1, 1]


@pytest.mark.parametrize("timing", list(ResetTiming))
def test_subtraction_and_multi_spike(timing: ResetTiming) -> None:
    neuron = FloatNeuron(
        1.0,
        np.array(1.0),
        np.array(0.0),
        comparison=Comparison.GE,
        reset=Reset.SUBTRACT,
        reset_timing=timing,
        max_spikes=2,
    )
    assert spikes(neuron, [3.5, 0, 0]) == [2, 1, 0]


def test_synaptic_memory_and_lower_clip() -> None:
    assert spikes(replace(HALF, u_keep=0.5, bias=np.array(0.0)), [0.8, 0, 0, 0.7]) == [0, 0, 0, 1]
    clipped = replace(HALF, v_keep=1.0, v_min=0.0, bias=np.array(0.0))
    assert spikes(clipped, [-5, 1.5]) == [0, 1]


def test_accumulator_gives_its_input_of_every_step() -> None:
    found = one(replace(HALF, v_keep=1.0), Kind.ACCUMULATOR, 2).record(np.array([[[1.0], [0.0]]]), spikes=True)
    assert found["output"].ravel().tolist() == [1.25, 0.25]
    assert found["counts"].ravel().tolist() == [1.5]
    assert set(found) == {"output", "counts", "predictions", "spikes/in"}


def test_float32_is_float32_and_a_static_input_stays_a_view() -> None:
    engine = one(HALF)
    engine.deployment = replace(engine.deployment, encoding="direct")
    engine.precision = "float32"
    values = engine.values(np.ones((3, 1)))
    assert values["in"].dtype == np.float32
    assert values["in"].strides[1] == 0


def test_summands_of_other_shapes_keep_apart() -> None:
    """(1,) and (1, 1) would broadcast: sharing a weight is not sharing a shape."""
    shapes = ((2,), (2, 1))
    cells = [Population(f"in{i}", shape, Kind.INPUT) for i, shape in enumerate(shapes)]
    cells += [Population("n", (2,), Kind.ACCUMULATOR, replace(HALF, v_keep=1.0, bias=np.array(0.0)), 1)]
    links = tuple(Projection(f"p{i}", f"in{i}", "n", Dense("w")) for i in range(2))
    network = Network(tuple(cells), links, {"w": np.eye(2)}, 1, Readout("mean", "n"))
    from snnhw.evaluate import evaluate

    x = {"in0": np.array([[[1.0, 2.0]]]), "in1": np.array([[[[10.0], [20.0]]]])}
    assert dict(evaluate(network, x))["n"].ravel().tolist() == [11.0, 22.0]


def test_one_to_one() -> None:
    cells = (
        Population("in", (2,), Kind.INPUT),
        Population("n", (2,), Kind.NEURON, replace(HALF, bias=np.array(0.0)), 1),
    )
    network = Network(
        cells, (Projection("p", "in", "n", Diagonal("w")),), {"w": np.array([2.0, 0.5])}, 1, Readout("rate", "n")
    )
    predictions, found = FloatEngine(network, Deployment(1, "spikes", (2,), "rate")).run(np.ones((3, 1, 2)))
    assert predictions.tolist() == [0, 0, 0]
    assert found["n"].tolist() == [[[1.0, 0.0]]] * 3
