"""Every kernel of the fast engine gives the integers of the reference engine, whatever it is chosen for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines import onednn, synapses
from snnhw.engines.base import Needs
from snnhw.engines.fast import FastEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import (
    Array,
    Comparison,
    Conv,
    Dense,
    IntNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    Reset,
    ResetTiming,
)
from snnhw.operators import Conv1d
from tests.generate import PROGRAMMABLE, Case, machine
from tests.property.test_engines_properties import run, same

PAYLOADS = ((0, 1), (0, 3), (0, 100), (0, 255), (-8, 7), (-255, 255), (0, 5000))
FIRST = 10
"""A layer whose product is of bytes."""
TOPS = (3, 127, 254, 2000)
KINDS = (
    (4096, 0, Reset.SUBTRACT, False),
    (4096, 0, Reset.SUBTRACT, True),
    (4096, 300, Reset.ZERO, False),
    (700, 1, Reset.V_RESET, False),
)
"""(du, dv, reset, charged in the next step): few, as each is compiled; others are in test_engines_properties.py."""
ALL = {"int8 (oneDNN)", *(f"int8 (oneDNN), {n} products" for n in (2, 4)), "float32"}


def layer(seed: int) -> Case:
    """An input, one layer of random form and a linear one behind it; delays and loops are `random_case`'s."""
    rng = np.random.default_rng([seed, 13])
    pick = rng.integers
    groups = int(rng.choice([1, 1, 2, 3]))
    channels = groups * pick(1, 5, 2)
    kernel = (7, 7) if seed % 11 == 0 else (1, 1) if seed % 11 == 1 else tuple(pick(1, 4, 2))
    top = int(rng.choice(TOPS))
    low, high = PAYLOADS[int(pick(len(PAYLOADS)))]
    window = [tuple(int(n) for n in pick(*ends, 2)) for ends in ((1, 4), (0, 3), (1, 3))]
    op: LinearOp = Conv("w", *window, groups)
    weights = pick(-top, top + 1, (channels[1], channels[0] // groups, *kernel))
    pre = (int(channels[0]), *(int(n) for n in pick(7, 13, 2)))
    if seed % 5 == 3:
        op, pre, weights = Conv1d("w", *(one[:1] for one in window), groups), pre[:2], weights[..., 0]
    if seed % 5 == 4:
        op, weights = Dense("w"), pick(-top, top + 1, (int(pick(1, 9)), int(np.prod(pre))))
    if top == 254:
        weights = weights & ~1
    post = op.shape({"w": weights}, pre)
    if min(post) < 1:
        return layer(seed + 10_000)
    du, dv, reset, late = KINDS[int(pick(len(KINDS)))]
    count = (int(np.prod(post)),)
    size = max(1, int(np.abs(weights).reshape(len(weights), -1).sum(1).mean() * high / 20))
    neuron = IntNeuron(
        dv=dv, du=du,
        vth=pick(1, 2 + size, count).reshape(post), bias=pick(-size, size + 1, count).reshape(post),
        act_shift=int(rng.choice([0, 3])), comparison=list(Comparison)[int(pick(2))],
        reset=reset,
        reset_timing=ResetTiming.NEXT_STEP if late else ResetTiming.SAME_STEP,
        v_reset=-5, v_min=(None, -size)[int(pick(2))], max_spikes=int(rng.choice([1, 1, 1, 4])),
    )  # fmt: skip
    top_neuron = replace(neuron, vth=np.array(size), bias=np.array(1), v_min=None)
    populations = (
        Population("in", pre, Kind.INPUT, payload=(low, high)),
        Population("n", post, Kind.NEURON, neuron, 1, (0, neuron.max_spikes)),
        Population("top", (3,), Kind.NEURON, top_neuron, 2, (0, neuron.max_spikes)),
    )
    table: dict[str, Array] = {"w": weights, "v": pick(-9, 10, (3, *count))}
    exponent = int(rng.choice([0, 0, 2, -1]))
    links = Projection("p", "in", "n", op, 1, exponent), Projection("q", "n", "top", Dense("v"), 1)
    x = pick(low, high + 1, (3, 4, *pre)) * (rng.random((3, 4, *pre)) < 0.4)
    return Case(Network(populations, links, table, 4, Readout("rate", "top")), {"in": x}, PROGRAMMABLE, "layer")


def check(seeds: Iterable[int]) -> set[str]:
    """Compare the engines on networks; the kernels that ran."""
    synapses.FEW = 0
    ran = set()
    for seed in seeds:
        case = layer(seed)
        same(run(FastEngine(), case, (2,)), run(ReferenceEngine(), case))
        info = FastEngine().open(case.network, machine(PROGRAMMABLE), Needs()).info
        ran |= {row.get("synapses", row.get("neurons", "")) for row in info}
    return ran


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapses, "FEW", 0)


def test_every_path_is_taken_and_equal() -> None:
    ran = check(range(40))
    assert ran >= ALL
    assert {"32-bit states, compiled for the rule", "64-bit states, any rule"} <= ran


@pytest.mark.slow
def test_hundreds_of_networks() -> None:
    assert check(range(40, 480)) >= ALL


@pytest.mark.parametrize("capped", ["ONEDNN_MAX_CPU_ISA=AVX2", "SNNHW_KERNELS=plain"])
def test_same_integers_on_lesser_machines(capped: str) -> None:
    """Without VNNI instructions, where pairs of products are added in 16 bits, and without any of these kernels."""
    name, value = capped.split("=")
    code = "from tests.property.test_kernel_paths import check; print(sorted(check(range(24))))"
    env = {**os.environ, name: value}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("int8" in done.stdout) == (value == "AVX2")


def test_an_operator_of_another_torch_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    case = layer(FIRST)
    for schemas, words in (
        ({**onednn.SCHEMAS, "qconv2d_pointwise": "onednn::qconv2d_pointwise(Tensor x) -> Tensor"}, "is another one"),
        ({"no_such_operator": ""}, "has no onednn::no_such_operator"),
    ):
        monkeypatch.setattr(onednn, "SCHEMAS", schemas)
        onednn.missing.cache_clear()
        info = FastEngine().open(case.network, machine(PROGRAMMABLE), Needs()).info
        assert words in info[0]["why"]
        same(run(FastEngine(), case), run(ReferenceEngine(), case))
    monkeypatch.undo()
    onednn.missing.cache_clear()


def test_a_product_that_fails_its_self_test_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    case = layer(FIRST)
    made = onednn.packed

    def saturating(*given: object) -> onednn.Product:
        product = made(*given)  # type: ignore[arg-type]
        return lambda x: np.clip(product(x), -(1 << 8), (1 << 8) - 1)

    monkeypatch.setattr(onednn, "packed", saturating)
    info = FastEngine().open(case.network, machine(PROGRAMMABLE), Needs()).info
    assert info[0]["why"] == "this machine's product of 8-bit integers is not exact"
    same(run(FastEngine(), case), run(ReferenceEngine(), case))


def test_values_beyond_the_payload_are_summed_all_the_same() -> None:
    """Nobody promised a session that values keep to it: it chooses other products, and goes on from its state."""
    case = layer(FIRST)
    beyond = {"in": case.stream["in"] * 5000}
    cases = [replace(case, stream=x) for x in (case.stream, beyond)]
    sessions = [engine.open(case.network, machine(PROGRAMMABLE), Needs.everything(case.network)) for engine in ENGINES]
    for one in cases:
        fast, reference = (session.advance(one.stream)["n"] for session in sessions)
        np.testing.assert_array_equal(fast.spikes, reference.spikes)
        for name in fast.state:
            np.testing.assert_array_equal(fast.state[name], reference.state[name])


ENGINES = (FastEngine(), ReferenceEngine())
