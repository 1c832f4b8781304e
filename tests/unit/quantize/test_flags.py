"""Parameters that rounding spoils: refused where nothing is left of them, else named with layer, size and fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnhw.cautions import Caution
from snnhw.errors import QuantizeError
from snnhw.network import Array, FloatNeuron, Kind, Network, Reset
from snnhw.quantize.flags import clipped_bias
from tests.unit.quantize.nets import layer, neuron, quantized, with_constant


def weights(rng: np.random.Generator) -> Array:
    return rng.normal(size=(6, 20))


def flags(network: Network[FloatNeuron], bits: int = 8, target: str = "loihi2") -> list[Caution]:
    x = np.random.default_rng(1).integers(0, 2, (20, network.steps, *network.inputs[0].shape))
    return list(quantized(network, target, x, bits).cautions)


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("kind", [Kind.NEURON, Kind.ACCUMULATOR])
def test_nothing_is_said_of_healthy_layers(target: str, bits: int, kind: Kind, rng: np.random.Generator) -> None:
    model = neuron(2.0, rng.normal(size=6) / 3, 0.9)
    assert flags(layer(weights(rng), model, kind=kind), bits, target) == []
    assert flags(with_constant(weights(rng), rng.normal(size=6), neuron(2.0, u_keep=0.5)), bits, target) == []


def test_a_threshold_that_becomes_0_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(QuantizeError) as caught:
        flags(layer(weights(rng), neuron(1e-9, reset=Reset.SUBTRACT)))
    assert str(caught.value).startswith(
        "threshold-range: a threshold becomes 0: it is smaller than half of what the membrane counts in\n  where: n\n"
        "  needed: 1e-09 beside weights of "
    )
    assert "limit: 1 unit or more\n  hint: rescale the layer" in str(caught.value)


def test_weights_that_all_become_0_are_named(rng: np.random.Generator) -> None:
    (flag,) = flags(layer(weights(rng), neuron(1e8)))
    assert flag.code == "range-unused"
    assert flag.what == "weights of w use little of their bits: its threshold of 1e+08 is in the way"
    assert flag.size == "6 of 6 rows; row 0 uses 0.0% of the range"


@pytest.mark.parametrize(
    ("change", "code", "size"),
    [
        ({"threshold": 0.005}, "threshold-off", "vth off by up to "),
        ({"keep": 0.99995}, "decay-off", "time constant 2e+04 steps, of the integers none; 1 of 1"),
        ({"keep": 0.9985}, "decay-off", ""),
        ({"u_keep": 0.99995}, "decay-off", "time constant 2e+04 steps, of the integers none; 1 of 1"),
        ({"bias": np.array([0, 0, 0, 1e6, 0, 0])}, "range-unused", "1 of 6 rows; row 3 uses "),
    ],
)
def test_neurons(change: dict[str, Any], code: str, size: str, rng: np.random.Generator) -> None:
    model = {"threshold": 2.0, "bias": 0.0, "keep": 1.0, **change}
    found = flags(layer(weights(rng), neuron(**model)), 8 if code == "range-unused" else 4)
    if not size:
        assert found == [], "a time constant of 666 steps is 683 of the integers: 2 %"
        return
    (flag,) = (flag for flag in found if flag.code == code)
    assert flag.where == "n"
    assert flag.size.startswith(size)
    assert flag.fix


@pytest.mark.parametrize(("rows", "said"), [([2], "1 of 6 rows; row 2: "), (range(6), "6 of 6 rows; row ")])
def test_outliers(rows: Any, said: str, rng: np.random.Generator) -> None:
    w = weights(rng)
    w[list(rows), 4] = 100.0
    network = layer(w, neuron(20.0))
    (found,) = flags(network, 4)
    assert (found.code, found.where) == ("outlier-weights", "n")
    assert found.size.startswith(said)
    assert found.fix.endswith("--weight-bits w=8")
    assert flags(network, 8) == []


def test_a_clipped_bias_names_its_size(rng: np.random.Generator) -> None:
    """A constant that the largest exponent does not hold limits the scale first; the record of one that is clipped."""
    found = flags(with_constant(weights(rng), np.array([1e5, 0, 0, 0, 0, 0]), neuron(2.0, u_keep=0.5)), 4)
    assert {flag.code for flag in found} <= {"range-unused", "threshold-off", "bias-clipped"}
    assert found
    assert "3 of 8; the largest is 2.5 times what fits" in str(clipped_bias("n", "c", 3, 8, 2.5))
