"""Resource formulas against plain counting over dense matrices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.machine import load_target
from snnhw.mapping.partition import grid
from snnhw.mapping.place import place
from snnhw.mapping.resources import uses
from snnhw.network import Array, Diagonal, Inject, Network, Projection, Sparse
from tests.unit.mapping.nets import Builder, chain, sew, stbp
from tests.unit.mapping.test_place import random_net
from tests.unit.mapping.toys import toy


def reaches(projection: Projection, network: Network[Any]) -> Array:
    """Whether a stored synapse joins pre neuron i (rows) to post neuron j (columns), from the operator itself."""
    pre, post, op = network[projection.pre], network[projection.post], projection.op
    if isinstance(op, Inject):
        return np.zeros((pre.size, post.size), bool)
    table = {op.weight: np.ones_like(network.weights[op.weight])}
    table |= {key: w for key, w in network.weights.items() if key.startswith(op.weight + "/")}
    units = np.eye(pre.size, dtype=np.int64).reshape(pre.size, *pre.shape)
    return op.apply(table, units, post.shape).reshape(pre.size, post.size) > 0


def some_parts(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(rng.integers(1, min(n, 4) + 1)) for n in shape)


def flat(box: Array, shape: tuple[int, ...]) -> Array:
    inside = np.zeros(shape, bool)
    inside[tuple(slice(a, b) for a, b in box)] = True
    return inside.ravel()


def net_with_everything(seed: int) -> Network[Any]:
    b = Builder(np.random.default_rng(seed))
    b.input((2, 9, 8))
    first = b.conv("a", ["in"], 4, 3, 2)
    b.weight("diagonal", b.shape(first))
    second = b.op("b", [first], Diagonal("diagonal"), b.shape(first))
    size, rng = int(np.prod(b.shape(first))), b.rng
    dense = rng.random((30, size)) < 0.1
    b.weights["s"] = rng.integers(0, 9, int(dense.sum())).astype(np.int8)
    b.weights["s/indices"] = np.nonzero(dense)[1]
    b.weights["s/indptr"] = np.concatenate([[0], np.cumsum(dense.sum(axis=1))])
    third = b.op("c", [second, first], Sparse("s"), (5, 3, 2))
    b.op("g", [third], Inject(), (5, 3, 2))
    b.dense("d", [third], 7)
    return b.build()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("make", [random_net, net_with_everything])
def test_axons_are_counted_as_drawn(seed: int, make: Any) -> None:
    """Without sharing: one axon for each source neuron and each slice that it reaches, per projection."""
    network, rng = make(seed), np.random.default_rng(seed)
    boxes = {p.name: grid(p.shape, some_parts(p.shape, rng), tuple(range(len(p.shape)))) for p in network.populations}
    chip = toy(core__axon_sources=1)
    joined = {q.name: reaches(q, network) for q in network.projections}
    for population in network.computed:
        found = uses(population.name, network, chip, boxes)
        for number, box in enumerate(boxes[population.name]):
            mine = flat(box, population.shape)
            into = sum(int(joined[q.name][:, mine].any(axis=1).sum()) for q in network.into(population.name))
            out = sum(
                int(joined[q.name][mine][:, flat(other, network[q.post].shape)].any(axis=1).sum())
                for q in network.out_of(population.name)
                for other in boxes[q.post]
            )
            assert (found["in_axons"][number], found["out_axons"][number]) == (into, out), population.name


def list_words(synapses: int, delay: int) -> int:
    """The formula of docs/targets.md on plain integers."""
    if synapses == 0:
        return 0
    bits = synapses * (8 + (delay - 1).bit_length()) + 20 * -(-synapses // 60)
    return -(-bits // 64) + (1 if bits % 64 == 0 or bits % 64 >= 59 else 0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("make", [random_net, net_with_everything])
def test_expanded_memory_is_one_list_for_each_source(seed: int, make: Any) -> None:
    network, rng = make(seed), np.random.default_rng(seed)
    boxes = {p.name: grid(p.shape, some_parts(p.shape, rng), tuple(range(len(p.shape)))) for p in network.populations}
    chip = toy(core__conv_shared=False)
    joined = {q.name: reaches(q, network) for q in network.projections}
    for population in network.computed:
        found = uses(population.name, network, chip, boxes)
        for number, box in enumerate(boxes[population.name]):
            lists = [
                list_words(int(synapses), q.delay)
                for q in network.into(population.name)
                for synapses in joined[q.name][:, flat(box, population.shape)].sum(axis=1)
            ]
            assert found["syn_words"][number] == sum(lists), population.name
            assert found["words_per_axon"][number] == max(lists)


def test_kernels_are_stored_once_for_one_delay() -> None:
    """Summands that share weights share memory, unless their delays differ: a synapse carries its delay."""
    b = Builder(np.random.default_rng(0))
    b.input((2, 8, 8))
    stem = b.conv("stem", ["in"], 4)
    twin = b.conv("twin", ["in"], 4)
    late = b.conv("late", [twin], 4)
    b.conv("same", [stem, twin], 6)
    b.conv("mixed", [stem, late], 6)
    network, chip = b.build(), toy()
    boxes = {p.name: grid(p.shape, tuple(1 for _ in p.shape), (0, 1, 2)) for p in network.populations}
    one, delayed = 4 * list_words(9 * 6, 1), 4 * list_words(9 * 6, 2)
    assert uses("same", network, chip, boxes)["syn_words"].tolist() == [one]
    assert uses("mixed", network, chip, boxes)["syn_words"].tolist() == [one + delayed]


def test_shared_axons_hold_the_channels_of_a_pixel() -> None:
    b = Builder(np.random.default_rng(0))
    b.input((3, 6, 6))
    first = b.conv("a", ["in"], 40)
    b.conv("b", [first], 5)
    b.dense("c", [first], 3)
    network, chip = b.build(), toy()  # 32 sources share an axon of 2 slots
    boxes = {p.name: grid(p.shape, tuple(1 for _ in p.shape), tuple(range(len(p.shape)))) for p in network.populations}
    assert uses("a", network, chip, boxes)["in_axons"].tolist() == [3 * 36]  # the host's spikes are discrete
    assert uses("b", network, chip, boxes)["in_axons"].tolist() == [36 * 2]
    assert uses("c", network, chip, boxes)["in_axons"].tolist() == [40 * 36 // 32]
    assert uses("a", network, chip, boxes)["out_axons"].tolist() == [36 * 4 + 2 * 45]


def test_the_pool_holds_everything_by_its_rule() -> None:
    """loihi2: lists follow bit by bit with a mark of 6 bits, and share 192 KB with all else, in words of 32 bit."""
    network, chip = chain((50, 20, 4)), toy("loihi2")
    boxes = {p.name: grid(p.shape, (1,), (0,)) for p in network.populations}
    found = uses("fc1", network, chip, boxes)
    synapses = 50 * (20 * 8 + 20 + 6)
    assert found["syn_words"].tolist() == [-(-synapses // 32)]
    states, own = 1, 0  # u forgets all: v alone; every parameter is one for all
    once = 2048 + (len(network["fc1"].model.parameters) - own) * 24
    tables, delays = 40 * (50 + 2), 2 * 24 * 20  # the 20 neurons share one axon to fc2, which takes 2 slots
    assert found["memory_words"].tolist() == [-(-(synapses + 20 * states * 24 + once + tables + delays) // 32)]


def test_parameters_of_single_neurons_are_stored_for_each() -> None:
    network, chip = chain((50, 20, 4)), toy("loihi2")
    boxes = {p.name: grid(p.shape, (1,), (0,)) for p in network.populations}
    plain = uses("fc1", network, chip, boxes)["memory_words"][0]
    own = replace(network["fc1"].model, vth=np.arange(20) + 64, du=np.full(20, 100))
    changed = replace(
        network, populations=tuple(replace(p, neuron=own) if p.name == "fc1" else p for p in network.populations)
    )
    more = 2 * 24 * (20 - 1) + 24 * 20  # two parameters, and u is a state now
    assert uses("fc1", changed, chip, boxes)["memory_words"][0] - plain in (more // 32, more // 32 + 1)


@pytest.mark.parametrize("words", [32768, 12000])
@pytest.mark.parametrize("make", [stbp, sew])
def test_the_seed_networks_fit_loihi2_at_both_values_of_its_memory(make: Any, words: int) -> None:
    chip = load_target("loihi2", {"core.syn_words": words} if words == 12000 else {})
    assert chip.constant("core.syn_words").grade == ("published" if words == 32768 else "assumed")
    assert place(make(), chip).chips == 1
