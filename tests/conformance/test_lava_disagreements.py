"""Where Lava 0.10.0 disagrees with itself or with the contract: reasons for the refusals in `rules` (DESIGN 5)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from snnhw.engines.lava import LavaEngine, rules
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import Conv, Dense, IntNeuron, Kind, LinearOp, Network, Population, Projection, Readout
from tests.conformance.harness import Trace, trace
from tests.generate import LIF, Case

pytestmark = [pytest.mark.lava, pytest.mark.xdist_group("lava-disagreements")]

ODD = np.array([3, -3, 5, -7])
OPS: dict[str, tuple[LinearOp, int]] = {
    "dense": (Dense("row"), 0),
    "large": (Dense("large"), 0),
    "conv": (Conv("kernel"), 0),
    "conv_exp": (Conv("kernel"), 2),
}
WEIGHTS = {"row": ODD[None], "large": np.array([[300, -300, 4, 4]]), "kernel": ODD.reshape(1, 4, 1, 1)}


def _network(weights: dict[str, np.ndarray], exponents: bool = True) -> Network[IntNeuron]:
    pre = Population[IntNeuron]("in", (4, 1, 1), Kind.INPUT)
    neuron = IntNeuron(0, np.array(131071 << 6), np.array(0), du=4096)
    posts = [Population(name, (1, 1, 1), Kind.NEURON, neuron, 1) for name in OPS]
    projections = [Projection(f"to_{name}", "in", name, op, 1, e * exponents) for name, (op, e) in OPS.items()]
    return Network((pre, *posts), tuple(projections), weights, 4, Readout("rate", "dense"))


@cache
def _case() -> Case:
    return Case(_network(WEIGHTS), {"in": np.eye(4, dtype=int).reshape(1, 4, 4, 1, 1)}, LIF, "disagreements")


@cache
def _unchecked() -> Trace:
    """The network in Lava without our refusals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "verify", lambda *_: None)
        return trace(LavaEngine(connections="stock"), _case())


def _currents(kept: Trace, name: str) -> list[int]:
    return [int(u) for u in kept.arrays(name)["u"].ravel() // 64]


def test_dense_drops_the_lowest_bit_of_mixed_weights() -> None:
    assert _currents(_unchecked(), "dense") == [2, -4, 4, -8]


def test_dense_clips_to_8_bits() -> None:
    assert _currents(_unchecked(), "large") == [254, -256, 4, 4]


def test_conv_drops_nothing() -> None:
    assert _currents(_unchecked(), "conv") == list(ODD)


def test_conv_ignores_weight_exp() -> None:
    assert _currents(_unchecked(), "conv_exp") == list(ODD)


def test_with_what_lava_makes_of_them_the_reference_agrees() -> None:
    w = WEIGHTS
    theirs = {**w, "row": w["row"] >> 1 << 1, "large": np.array([[254, -256, 4, 4]])}
    reference = trace(ReferenceEngine(), replace(_case(), network=_network(theirs, exponents=False)))
    for name in OPS:
        assert _currents(reference, name) == _currents(_unchecked(), name)


def test_an_odd_weight_in_stock_dense_would_be_seen() -> None:
    reference = trace(ReferenceEngine(), _case())
    assert _currents(reference, "dense") != _currents(_unchecked(), "dense")
