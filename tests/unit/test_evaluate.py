"""The float evaluator against the equations, written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnhw.evaluate import evaluate, fire, membrane
from snnhw.network import (
    Comparison,
    Dense,
    FloatNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)


def neuron(**changes: Any) -> FloatNeuron:
    return FloatNeuron(**{"v_keep": 1.0, "threshold": np.asarray(1.0), "bias": np.asarray(0.0), **changes})


def spikes(model: FloatNeuron, *x: float) -> list[float]:
    found: list[float] = fire(model, np.array(x).reshape(1, -1, 1))[0, :, 0].tolist()
    return found


@pytest.mark.parametrize(
    ("changes", "x", "want"),
    [
        ({}, [0.5, 0.5, 0.25, 0.5], [0, 0, 1, 0]),  # > : 1.0 does not fire
        ({"comparison": Comparison.GE}, [0.5, 0.5, 0.25, 0.5], [0, 1, 0, 0]),
        ({"v_keep": 0.5}, [1.0, 0.5, 0.75, 0.0], [0, 0, 1, 0]),
        ({}, [1.75, 0.5, 0.25, 0.5], [1, 0, 0, 1]),  # the remainder is forgotten
        ({"reset": Reset.SUBTRACT}, [1.75, 0.5, 0.25, 0.5], [1, 1, 0, 0]),
        ({"v_reset": -1.0, "reset": Reset.V_RESET}, [1.5, 1.5, 1.0, 0.0], [1, 0, 1, 0]),
        ({"v_init": 0.75}, [0.5, 0.5, 0.5, 0.5], [1, 0, 0, 1]),
        ({"v_min": -0.5}, [-9.0, 1.75, 0.0, 0.0], [0, 1, 0, 0]),
        ({"max_spikes": 3, "reset": Reset.SUBTRACT}, [2.5, 1.0, 9.0, 0.0], [2, 1, 3, 3]),
        # owed, not taken back at once: 1.5 fires, the next step pays and stays below
        (
            {"reset": Reset.SUBTRACT, "reset_timing": ResetTiming.NEXT_STEP},
            [1.5, 0.25, 0.5, 0.0],
            [1, 0, 1, 0],
        ),
    ],
)
def test_fire(changes: dict[str, Any], x: list[float], want: list[int]) -> None:
    assert spikes(neuron(**changes), *x) == want


def test_samples_and_neurons_do_not_meet() -> None:
    x = np.random.default_rng(0).random((3, 5, 4))
    together = fire(neuron(v_keep=0.5), x)
    for b in range(3):
        for n in range(4):
            np.testing.assert_array_equal(
                together[b, :, n], fire(neuron(v_keep=0.5), x[b : b + 1, :, n : n + 1])[0, :, 0]
            )


def test_thresholds_may_differ_by_neuron() -> None:
    x = np.ones((1, 1, 2))
    assert fire(neuron(threshold=np.array([0.5, 1.5])), x).ravel().tolist() == [1, 0]


def test_synaptic_current_decays() -> None:
    x = np.array([1.0, 0.0, 0.0, 2.0]).reshape(1, 4, 1)
    np.testing.assert_array_equal(membrane(neuron(u_keep=0.5, v_keep=0.0), x).ravel(), [1, 0.5, 0.25, 2.125])


def network(summed: bool) -> Network[FloatNeuron]:
    """Two sources of one projection's weights, then an accumulator."""
    populations = (
        Population("a", (2,), Kind.INPUT),
        Population("b", (2,), Kind.INPUT),
        Population("n", (1,), Kind.NEURON, neuron(bias=np.asarray(0.25)), start=1),
        Population("out", (1,), Kind.ACCUMULATOR, neuron(bias=np.asarray(0.5)), start=2),
    )
    projections = (
        Projection("a->n", "a", "n", Dense("w")),
        Projection("b->n", "b", "n", Dense("w" if summed else "w2")),
        Projection("n->out", "n", "out", Dense("one")),
    )
    weights = {"w": np.array([[1.0, 2.0]]), "w2": np.array([[1.0, 2.0]]), "one": np.array([[3.0]])}
    return Network(populations, projections, weights, 3, Readout("mean", "out"))


@pytest.mark.parametrize("summed", [True, False])
def test_layers_of_one_step_see_each_other(summed: bool) -> None:
    inputs = {"a": np.array([[[1.0, 0], [0, 0], [0, 0]]]), "b": np.array([[[0, 0], [0.25, 0.25], [0, 0]]])}
    found = dict(evaluate(network(summed), inputs))
    # n: 1.25 fires, 0.75 + 0.25 = 1 does not (>), 1 + 0.25 does
    assert found["n"].ravel().tolist() == [1, 0, 1]
    assert found["out"].ravel().tolist() == [3.5, 0.5, 3.5]


def test_a_static_input_is_computed_once_and_gives_the_same() -> None:
    image = np.random.default_rng(0).random((2, 1, 2))
    net = network(True)
    wide = {name: np.broadcast_to(image, (2, 3, 2)) for name in ("a", "b")}
    full = {name: np.array(x) for name, x in wide.items()}
    one, other = dict(evaluate(net, wide)), dict(evaluate(net, full))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_float32_stays_float32() -> None:
    inputs = {name: np.ones((1, 3, 2), np.float32) for name in ("a", "b")}
    found = dict(evaluate(network(True), inputs))
    assert {name: x.dtype for name, x in found.items()}["out"] == np.float32
