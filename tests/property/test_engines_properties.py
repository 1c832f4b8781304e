"""Fast equals reference bit for bit on generated networks, however the samples are cut, ordered or laid out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from snnhw.engines.base import Engine, Needs, Record
from snnhw.engines.fast import FastEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import Array, Comparison, Dense, IntNeuron, Kind, Network, Population, Projection, Readout, Reset
from tests.generate import FLAVOURS, LIF, OVERFLOWING, PROGRAMMABLE, Case, machine, random_case

SEEDS = range(40)


class Everything:
    """Keeps what an engine shows, population -> field -> array."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.needs = Needs.everything(network)
        self.parts: dict[tuple[str, str], list[Array]] = {}
        self.counters: dict[str, tuple[int, int]] = {}

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        for name, values in {"spikes": record.spikes, **record.state}.items():
            self.parts.setdefault((population, name), []).append(np.array(values, np.int64))
        wraps, clips = self.counters.get(population, (0, 0))
        self.counters[population] = (wraps + record.overflows.get("u", 0), clips + record.overflows.get("v", 0))

    def arrays(self) -> dict[tuple[str, str], Array]:
        return {key: np.concatenate(parts) for key, parts in self.parts.items()}


def run(engine: Engine, case: Case, cuts: tuple[int, ...] = (), order: Array | None = None) -> Everything:
    """A run in chunks that end at `cuts`, with the samples in an order."""
    edges = (0, *cuts, case.samples)
    stream = {name: x if order is None else x[order] for name, x in case.stream.items()}
    kept = Everything(case.network)
    chunks = [{name: x[a:b] for name, x in stream.items()} for a, b in pairwise(edges)]
    engine.run(case.network, machine(case.profile), chunks, [kept])
    return kept


def same(one: Everything, other: Everything, order: Array | None = None) -> None:
    a, b = one.arrays(), other.arrays()
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key] if order is None else a[key][order], b[key], err_msg=str(key))
    assert one.counters == other.counters


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
def test_fast_equals_reference(profile: str) -> None:
    overflowed = 0
    for seed in SEEDS:
        case = random_case(seed, profile, samples=3, steps=4)
        fast, reference = run(FastEngine(), case, (1,)), run(ReferenceEngine(), case)
        same(fast, reference)
        overflowed += case.flavour in OVERFLOWING and any(sum(counts) for counts in reference.counters.values())
    assert overflowed, "networks made to overflow do"


@pytest.mark.parametrize("flavour", sorted(set(FLAVOURS)))
def test_chunks_order_and_neighbours_change_nothing(flavour: str) -> None:
    case = random_case(7, PROGRAMMABLE, samples=5, steps=3, flavour=flavour)
    whole = run(FastEngine(), case)
    order = np.array([3, 0, 4, 2, 1])
    for engine in (FastEngine(), ReferenceEngine()):
        same(whole, run(engine, case, (2, 3)))
        same(whole, run(engine, case, (1,), order), order)


def test_one_sample_alone_is_the_same_as_in_a_stream() -> None:
    case = random_case(3, PROGRAMMABLE, samples=4, steps=4, flavour="residual")
    stream = run(ReferenceEngine(), case).arrays()
    for i in range(case.samples):
        alone = run(ReferenceEngine(), replace(case, stream={k: x[i : i + 1] for k, x in case.stream.items()}))
        for key, values in alone.arrays().items():
            np.testing.assert_array_equal(values[0], stream[key][i])


@pytest.mark.parametrize("flavour", ["conv", "graded", "inject"])
def test_static_view_equals_its_copy(flavour: str) -> None:
    case = random_case(11, PROGRAMMABLE, samples=3, steps=4, flavour=flavour)
    views = {name: np.broadcast_to(x[:, :1], x.shape) for name, x in case.stream.items()}
    copies = {name: x.copy() for name, x in views.items()}
    same(run(FastEngine(), replace(case, stream=views)), run(FastEngine(), replace(case, stream=copies)))


DECAYS = (0, 1, 4095, 4096)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("comparison", list(Comparison))
def test_every_decay_shift_and_level(reset: Reset, comparison: Comparison, rng: np.random.Generator) -> None:
    """The grid of extremes on one dense layer: du, dv, act_shift, multi-spike, v_min, v_init, negative weight_exp."""
    grid = [(du, dv, shift) for du in DECAYS for dv in DECAYS for shift in (0, 3, 6)]
    weights = {"w": rng.integers(-127, 128, (6, 5))}
    x = rng.integers(-3, 4, (3, 5, 5))
    for i, (du, dv, shift) in enumerate(grid):
        neuron = IntNeuron(
            dv, rng.integers(1, 40, 6) << shift, rng.integers(-9, 30, 6) << shift, du, shift, comparison, reset,
            v_reset=-5, v_min=(None, -50)[i % 2], v_init=(0, 7)[i % 3 == 0], max_spikes=(1, 4)[i % 5 == 0],
        )  # fmt: skip
        layers = (
            Population("in", (5,), Kind.INPUT, payload=(-3, 3)),
            Population("n", (6,), Kind.NEURON, neuron, 1, (0, 4)),
        )
        projection = Projection("p", "in", "n", Dense("w"), 1, (0, -3, 2)[i % 3])
        case = Case(Network(layers, (projection,), weights, 5, Readout("rate", "n")), {"in": x}, PROGRAMMABLE, "grid")
        same(run(FastEngine(), case), run(ReferenceEngine(), case))
