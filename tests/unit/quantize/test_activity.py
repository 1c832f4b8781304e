"""Calibration activity: the float network's own values, forgotten as soon as nothing reads them."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.errors import DataError
from snnhw.evaluate import evaluate
from snnhw.network import Dense, FloatNeuron, Kind, Network, Population, Projection, Readout
from snnhw.quantize import activity as module
from snnhw.quantize.activity import CALIBRATION_SAMPLES, Activity, calibration_samples, split
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
    monkeypatch.setattr(module, "HELD_VALUES", 1)
    assert calibration_samples(network) == 1


@pytest.mark.parametrize(
    ("samples", "used", "apart"), [(1, 1, 0), (3, 3, 0), (4, 3, 1), (14, 11, 3), (200, 64, 50), (999, 64, 64)]
)
def test_some_samples_are_used_and_others_kept_apart(
    samples: int, used: int, apart: int, rng: np.random.Generator
) -> None:
    found = split(rng.random((samples, 2, 3)), None, CALIBRATION_SAMPLES)
    assert (len(found.used), len(found.apart)) == (used, apart)
    assert len({*found.used, *found.apart}) == used + apart


@pytest.mark.parametrize("labelled", [False, True])
def test_the_order_of_a_file_does_not_matter(labelled: bool, rng: np.random.Generator) -> None:
    x, y = rng.random((300, 5)), np.sort(rng.integers(0, 4, 300))
    real = np.broadcast_to(x[:, None], (300, 7, 5))
    order = rng.permutation(300)
    one = split(real, y if labelled else None, 64)
    other = split(np.broadcast_to(x[order][:, None], (300, 7, 5)), y[order] if labelled else None, 64)
    for have, want in ((order[other.used], one.used), (order[other.apart], one.apart)):
        np.testing.assert_array_equal(have, want)


def test_classes_are_used_in_proportion(rng: np.random.Generator) -> None:
    y = np.repeat([0, 1, 2], [20, 160, 820])
    found = split(rng.random((1000, 1, 4)), y, 50)
    for part in (found.used, found.apart):
        counts = np.bincount(y[part], minlength=3)
        np.testing.assert_allclose(counts, [1, 8, 41], atol=1)


def test_no_samples_and_other_labels_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(DataError) as caught:
        split(np.zeros((0, 2, 3)), None, 64)
    assert str(caught.value) == (
        "bad-shape: there are no calibration samples\n  where: calibrate\n  needed: some\n  limit: got (0, 2, 3)"
    )
    with pytest.raises(DataError) as caught:
        split(np.zeros((5, 2, 3)), np.zeros(4, int), 64)
    assert str(caught.value) == (
        "bad-labels: labels do not fit the calibration samples\n  where: labels\n  needed: (5,) whole numbers\n"
        "  limit: got (4,), int64"
    )


def test_a_static_input_stays_a_view(network: Network[FloatNeuron]) -> None:
    found = Activity(network, np.broadcast_to(np.ones((2, 1, 6)), (2, 3, 6)))
    found.advance("a")
    assert found["in"].strides[1] == 0
