"""Fifty residual blocks whose branches do what makes them the identity: the input comes out unchanged, only later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import snnhw
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, PLIF, Neuron
from tests.unit.lowering.runs import TARGETS, made_for, of_spikes

BLOCKS, STEPS, SHAPE = 50, 4, (2, 3, 3)
JOIN: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda branch, x: branch + x,
    "and": lambda branch, x: branch * x,
    "iand": lambda branch, x: x * (1 - branch),
}
BIAS = {"add": 0.0, "and": 1.0, "iand": 0.0}
"""Fang et al. 2021 (SEW-ResNet), table 1: ADD, IAND are the identity where the branch is silent, AND where it fires."""


class Block(nn.Module):
    """Join of x and a branch of two layers; weights 0, and the last bias decides what the branch always says."""

    def __init__(self, join: str, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.join = JOIN[join]
        self.c1, self.n1, self.c2, self.n2 = (
            PerStep(nn.Conv2d(2, 2, 3, padding=1)),
            neuron(),
            PerStep(nn.Conv2d(2, 2, 1)),
            neuron(),
        )
        for layer, bias in ((self.c1, 0.0), (self.c2, BIAS[join])):
            nn.init.zeros_(layer[0].weight)  # type: ignore[arg-type]
            nn.init.constant_(layer[0].bias, bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(self.n2(self.c2(self.n1(self.c1(x)))), x)
        return joined


def stack(join: str, neuron: Callable[[], Neuron] = IF, blocks: int = BLOCKS) -> nn.Module:
    """An IF that hands on the input's spikes, blocks, and an IF that shows what comes out."""
    return nn.Sequential(IF(), *(Block(join, neuron) for _ in range(blocks)), IF())


def spikes(samples: int = 2) -> Array:
    return (np.random.default_rng(0).random((samples, STEPS, *SHAPE)) < 0.4).astype(float)


def source(join: str, neuron: Callable[[], Neuron] = IF, blocks: int = BLOCKS) -> Source:
    return of_spikes(stack(join, neuron, blocks), spikes())


@pytest.mark.parametrize(
    ("join", "target"),
    [
        pytest.param(join, target, marks=[] if i % 2 else pytest.mark.slow)  # 5 to 25 s each, most in the reference
        for i, (join, target) in enumerate((join, target) for join in JOIN for target in TARGETS)
    ],
)
def test_fifty_blocks_hand_on_their_input(join: str, target: str) -> None:
    x = spikes()
    made = made_for(source(join), target, x)
    assert made.differences() == []
    found, network = made.run_fast(), made.made.network
    np.testing.assert_array_equal(found["output"], x)
    assert network[network.readout.population].start >= 2 * BLOCKS


@pytest.mark.lava
@pytest.mark.parametrize("join", JOIN)
def test_lava_hands_it_on_too(join: str) -> None:
    """Ten blocks: every population and projection is a process."""
    x = spikes()
    artifact = snnhw.compile(source(join, blocks=10), target="loihi2", calibrate=x)
    lava, reference = (snnhw.run(artifact, x, engine, record="state") for engine in ("lava", "reference"))
    np.testing.assert_array_equal(lava["output"], x)
    for name, values in reference.items():
        np.testing.assert_array_equal(lava[name], values, err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
def test_and_of_neurons_that_cannot_fire_is_silent_and_says_so(target: str) -> None:
    """PLIF with input decay 1 / tau: a constant input of 1 only ever nears the threshold 1."""
    x = spikes()
    artifact = snnhw.compile(source("and", lambda: PLIF(init_tau=2.0), 3), target=target, calibrate=x)
    assert not snnhw.run(artifact, x)["output"].any()
    silent = {row["population"] for row in artifact.bounds if row.get("silent")}
    assert {"1.n2", "2.n2", "3.n2"} <= silent
