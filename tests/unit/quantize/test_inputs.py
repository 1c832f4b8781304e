"""Pixels as graded spikes, event counts, signed values, and the first layer on the host."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from snnhw.encoding import ClippedInput, encode
from snnhw.errors import DataError
from snnhw.network import Conv, Inject, Kind
from snnhw.quantize.inputs import HOST_SHIFT
from tests.unit.quantize.nets import layer, neuron, quantized, spikes

PIXELS = {"encoding": "direct", "preprocessing": "uint8/255"}


def stem(rng: np.random.Generator):  # type: ignore[no-untyped-def]
    return layer(
        rng.normal(size=(4, 2, 3, 3)), neuron(threshold=1.5), Conv("w", (2, 2), (1, 1)), (2, 6, 6), (4, 3, 3), steps=3
    )


def test_pixels_are_graded_spikes_on_loihi2(rng: np.random.Generator) -> None:
    result = quantized(stem(rng), "loihi2", **PIXELS)
    assert result.network["in"].payload == (0, 255)
    x = rng.integers(0, 256, (2, 2, 6, 6), np.uint8)
    values = encode(x, result.inputs, 3)["in"]
    assert values.strides[1] == 0
    np.testing.assert_array_equal(values[:, 1], x)


def test_host_layer_of_loihi1_is_the_rational_layer_rounded(rng: np.random.Generator) -> None:
    """Within half a unit of the exact product of its integer weights, and within 1/8 more of the real one."""
    network = stem(rng)
    result = quantized(network, "loihi1", **PIXELS)
    spec = result.inputs[0]
    assert spec.host is not None
    assert isinstance(result.network.projections[0].op, Inject)
    assert result.network[spec.population].kind is Kind.INPUT
    x = rng.integers(0, 256, (3, 2, 6, 6), np.uint8)
    have = encode(x, result.inputs, 3)[spec.population][:, 0]
    padded = np.pad(x.astype(int), ((0, 0), (0, 0), (1, 1), (1, 1)))
    scale = next(row.integer for row in result.rationale if row.parameter == "scale")
    for n, c, i, j in np.ndindex(have.shape):
        patch = padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].ravel().tolist()
        integers = spec.host.weights[""][c].ravel().tolist()
        exact = Fraction(sum(w * p for w, p in zip(integers, patch, strict=True)), 1 << HOST_SHIFT)
        assert -Fraction(1, 2) <= exact - int(have[n, c, i, j]) <= Fraction(1, 2)
        real = float(np.dot(network.weights["w"][c].ravel(), patch)) / 255 * scale
        assert abs(real - have[n, c, i, j]) < 0.625


def test_host_layer_does_not_depend_on_order_or_batch(rng: np.random.Generator) -> None:
    result = quantized(stem(rng), "loihi1", **PIXELS)
    x = rng.integers(0, 256, (4, 2, 6, 6), np.uint8)
    name = result.inputs[0].population
    whole = encode(x, result.inputs, 3)[name]
    for i in (2, 0, 3):
        np.testing.assert_array_equal(encode(x[i : i + 1], result.inputs, 3)[name][0], whole[i])


def test_host_currents_fit_a_bias_mantissa(rng: np.random.Generator) -> None:
    result = quantized(stem(rng), "loihi1", **PIXELS)
    x = np.where(rng.random((50, 2, 6, 6)) < 0.5, 0, 255).astype(np.uint8)
    values = encode(x, result.inputs, 3)[result.inputs[0].population]
    assert np.abs(values).max() <= 4095


def test_signed_analog_input(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(8, 2, 6, 6))
    result = quantized(stem(rng), "loihi2", samples, encoding="direct")
    spec = result.inputs[0]
    assert (spec.low, spec.high) == (-127, 127)
    assert not spec.exact
    values = encode(samples, result.inputs, 3)["in"][:, 0]
    assert np.abs(values * spec.scale - samples).max() <= spec.scale / 2 * (1 + 1e-9)
    with pytest.warns(ClippedInput):
        assert encode(samples * 3, result.inputs, 3)["in"].max() == 127


def test_event_counts_are_not_made_binary(rng: np.random.Generator) -> None:
    """seeds.md E3: DVS frames count events; calibration data tell how many."""
    network = layer(np.ones((1, 3)), neuron(threshold=50.0), steps=2)
    counts = np.array([[[0, 5, 1], [2, 0, 0]]])
    result = quantized(network, "loihi2", counts)
    assert result.network["in"].payload == (0, 10)
    assert spikes(result, counts * 2)["spikes/in"].max() == 10
    with pytest.raises(DataError, match="bad-range: the data leave the range the network was compiled for"):
        encode(counts * 3, result.inputs, 2)
    binary = quantized(network, "loihi2")
    with pytest.raises(DataError, match="hint: scale the data, or compile with --calibrate on data like them"):
        encode(counts, binary.inputs, 2)


def test_event_counts_and_signs_go_through_the_host_on_loihi1() -> None:
    network = layer(np.array([[0.5, -0.25, 1.0]]), neuron(), steps=2)
    for values in ([[0, 3, 1], [2, 0, 0]], [[0, -1, 1], [1, 0, 0]]):
        x = np.array([values])
        result = quantized(network, "loihi1", x)
        assert [p.name for p in result.network.inputs] == ["in@n"]
        want = (x @ network.weights["w"].T)[0, :, 0]
        unit = next(row.integer for row in result.rationale if row.parameter == "scale")
        np.testing.assert_allclose(encode(x, result.inputs, 2)["in@n"][0, :, 0] / unit, want, atol=1 / unit)


def test_analog_sequence_is_analog(rng: np.random.Generator) -> None:
    """A live module takes currents over time: fractions are not spikes."""
    network = layer(rng.random((2, 3)), neuron(), steps=4)
    x = rng.random((5, 4, 3))
    spec = quantized(network, "loihi2", x).inputs[0]
    assert (spec.low, spec.high, spec.exact) == (0, 255, False)
    with pytest.raises(DataError, match="bad-range: the data are not whole numbers of spikes"):
        encode(x, quantized(network, "loihi2").inputs, 4)
