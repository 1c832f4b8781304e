"""Calibration activity: the float network's own values, forgotten as soon as nothing reads them."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.evaluate import evaluate
from snnhw.network import Dense, FloatNeuron, Kind, Network, Population, Projection, Readout
from snnhw.quantize import activity as module
from snnhw.quantize.activity import CALIBRATION_SAMPLES, Activity, calibration_samples
from tests.unit.quantize.nets import neuron


@pytest.fixture
def network(rng: np.random.Generator) -> Network[FloatNeuron]:
    """in -> a -> b -> c, and a -> c past b."""
    cells = [Population("in", (6,), Kind.INPUT)]
    cells += [Population(name, (size,), Kind.NEURON, neuron(), 1) for name, size in (("a", 5), ("b", 4), ("c", 3))]
    ways = (("in", "a"), ("a", "b"), ("b", "c"), ("a", "c"))
    size = {p.name: p.size for p in cells}
    weights = {f"{pre}{post}": rng.normal(size=(size[post], size[pre])) for pre, post in ways}
    links = tuple(Projection(f"{pre}->{post}", pre, post, Dense(f"{pre}{post}")) for pre, post in ways)
    return Network(tuple(cells), links, weights, 3, Readout("rate", "c"))


def test_values_are_those_of_the_evaluator(network: Network[FloatNeuron], rng: np.random.Generator) -> None:
    x = (rng.random((7, 3, 6)) < 0.5).astype(np.float64)
    want = dict(evaluate(network, {"in": x.astype(np.float32)}))
    found = Activity(network, x)
    for name in ("a", "b", "c"):
        found.advance(name)
        for held in found:
            np.testing.assert_array_equal(found[held], want[held])
    assert want["c"].any()


def test_what_nothing_reads_any_more_is_forgotten(network: Network[FloatNeuron]) -> None:
    found = Activity(network, np.ones((2, 3, 6)))
    held = []
    for name in ("a", "b", "c"):
        found.advance(name)
        held.append(set(found))
    assert held == [{"in", "a"}, {"a", "b"}, {"a", "b", "c"}]


def test_large_networks_are_calibrated_on_fewer_samples(
    network: Network[FloatNeuron], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most is held while c is computed: a, b and c, 12 values at each of 3 steps."""
    assert calibration_samples(network) == CALIBRATION_SAMPLES
    monkeypatch.setattr(module, "HELD_VALUES", 5 * 36 + 35)
    assert calibration_samples(network) == 5
    found = Activity(network, np.ones((9, 3, 6)))
    found.advance("a")
    assert len(found["a"]) == 5
    monkeypatch.setattr(module, "HELD_VALUES", 1)
    assert calibration_samples(network) == 1


def test_a_static_input_stays_a_view(network: Network[FloatNeuron]) -> None:
    found = Activity(network, np.broadcast_to(np.ones((2, 1, 6)), (2, 3, 6)))
    found.advance("a")
    assert found["in"].strides[1] == 0
