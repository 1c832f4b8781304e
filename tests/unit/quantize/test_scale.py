"""Scales: the largest weight just fits, thresholds are whole, silent channels get a scale, data decide the rest."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.machine import load_target
from snnhw.network import Conv, Kind
from snnhw.quantize.formats import formats_of
from snnhw.quantize.moments import Moments
from snnhw.quantize.scale import FACTORS, Trial, whole_threshold
from tests.unit.quantize.nets import layer, neuron, quantized


def scales(result) -> list[str]:  # type: ignore[no-untyped-def]
    return [row.text for row in result.rationale if row.parameter == "scale"]


def test_each_channel_of_loihi2_uses_its_whole_range() -> None:
    w = np.array([[1.0, -0.45671], [0.01, 0.0023457]]).reshape(2, 2, 1, 1)
    result = quantized(layer(w, neuron(threshold=10.0), Conv("w"), (2, 2, 2), (2, 2, 2)), "loihi2")
    assert np.abs(result.network.weights["w"]).max(axis=(1, 2, 3)).tolist() == [127, 127]
    shared = quantized(layer(w, neuron(threshold=10.0), Conv("w"), (2, 2, 2), (2, 2, 2)), "loihi1")
    assert np.abs(shared.network.weights["w"]).max(axis=(1, 2, 3)).tolist() == [254, 2]
    assert "largest scale at which no weight is clipped" in scales(shared)[0]


def test_thresholds_are_moved_to_whole_units_where_that_costs_little() -> None:
    scale = np.array([10.0, 40.9, 100.25])
    found = whole_threshold(scale, np.array(0.5), 1)
    assert found.tolist() == [10.0, 40.0, 100.0]
    assert whole_threshold(np.asarray(10.0), np.array([1.0, 2.0]), 1) == 10.0


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_silent_channels_have_a_finite_scale(target: str) -> None:
    w = np.array([[0.0, 0.0], [0.5, -0.2]])
    for weights in (w, w * 0):
        result = quantized(layer(weights, neuron(bias=0.3)), target)
        n = result.network["n"].model
        assert (np.asarray(n.vth) > 0).all()
        assert np.broadcast_to(n.bias / (n.vth + 64 * (target == "loihi1")), 2) == pytest.approx([0.3, 0.3], rel=0.02)


def test_an_outlier_is_clipped_where_data_never_read_it(rng: np.random.Generator) -> None:
    """One huge weight behind a synapse that is silent in the data: the others get its bits."""
    w = rng.uniform(-0.3, 0.3, (1, 40))
    w[0, 0] = 0.5
    x = rng.integers(0, 2, (50, 6, 40))
    x[:, :, 0] = 0
    plain, tuned = (quantized(layer(w, neuron()), "loihi2", samples, 3) for samples in (None, x))
    assert np.abs(plain.network.weights["w"][0, 1:]).max() == 2
    assert np.abs(tuned.network.weights["w"][0, 1:]).max() == 3
    assert "1 of 40 clipped" in next(r.text for r in tuned.rationale if r.parameter == "weights w")
    assert "least error of the current on calibration data" in scales(tuned)[0]


def test_factor_1_wins_ties() -> None:
    assert FACTORS[0] == 1.0
    silent = quantized(layer(np.array([[0.5, 0.25]]), neuron()), "loihi2", np.zeros((4, 6, 2), np.int64))
    assert "factor 1 of" in scales(silent)[0]


@pytest.mark.parametrize("power", [0, 1, 3])
def test_cost_is_the_squared_error_of_the_current_in_reals(power: int) -> None:
    """Weights in units of 2**power err 2**power times as much, squared."""
    w, scale, variance = np.array([[0.37, -0.21], [0.05, 0.9]]), 40.0, np.array([2.0, 3.0])
    network = layer(w, neuron(), kind=Kind.ACCUMULATOR)
    op = network.projections[0].op
    trial = Trial(network, network["n"], {op: Moments(np.zeros(2), variance)}, {op: power})
    unit = scale / 2**power
    lost = w - np.rint(w * unit) / unit
    want = float(((lost * lost) @ variance).mean())
    assert trial.cost(np.asarray(scale), formats_of(load_target("loihi2"), 8)) == pytest.approx(want)
