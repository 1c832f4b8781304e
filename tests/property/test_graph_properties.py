"""Random NIR graphs of neurons, gates, filters, delays, sums and pools: graph = lowered = integers, in every form."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from snnhw.frontends.check import require_equal
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower
from snnhw.lowering.sums import Sums
from snnhw.network import Kind, verify
from snnhw.semantics import Deployment, to_metadata
from tests.unit.frontends.graphs import semantics
from tests.unit.lowering.runs import made_for
from tests.unit.lowering.timing import DT, Edges, Nodes, bits

SHAPE, OUTPUTS, STEPS = (2, 4, 4), 6, 5
LONG = 40
"""Longest delay of a tighter target."""


class Weaver:
    """A graph under construction; every choice is drawn."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: Nodes = {"input": nir.Input({"input": np.array(SHAPE)})}
        self.edges: Edges = []
        self.trains = ["input"]

    def place(self, kind: str, node: nir.NIRNode, sources: list[str]) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in dict.fromkeys(sources)]
        return name

    def way(self, source: str) -> str:
        """A chain of none to two linear nodes behind a node."""
        for _ in range(int(self.rng.integers(0, 3))):
            match self.rng.integers(4):
                case 0:
                    source = self.late(source)
                case 1:
                    source = self.place("scale", nir.Scale(np.full(SHAPE, float(self.rng.choice([-1, 2])))), [source])
                case 2:
                    weight = self.rng.integers(-3, 6, (2, 2, 3, 3)) / 4
                    conv = nir.Conv2d(SHAPE[1:], weight, (1, 1), (1, 1), (1, 1), 1, np.zeros(2))
                    source = self.place("conv", conv, [source])
                case _:
                    ones, three = np.array([1, 1]), np.array([3, 3])
                    source = self.place("window", nir.SumPool2d(three, ones, ones), [source])
        return source

    def late(self, source: str) -> str:
        return self.place("delay", nir.Delay(np.full(1, int(self.rng.integers(0, STEPS + 1)) * DT)), [source])

    def train(self) -> None:
        """A neuron or a gate over one to three ways, some of which share their linear node."""
        chosen = [str(name) for name in self.rng.choice(self.trains, int(self.rng.integers(1, 4)))]
        ways = [self.way(name) for name in chosen]
        if self.rng.random() < 0.4:
            weight = self.rng.integers(-2, 6, (2, 2, 3, 3)) / 4
            conv = nir.Conv2d(SHAPE[1:], weight, (1, 1), (1, 1), (1, 1), 1, np.zeros(2))
            ways = [self.place("shared", conv, ways)]
        if self.rng.random() < 0.3:
            keep = self.rng.choice([1.0, 0.5])
            leak = {"tau": np.full(SHAPE, DT / (1 - keep or 1)), "v_leak": np.zeros(SHAPE)}
            node = nir.I(r=np.full(SHAPE, 1 / DT)) if keep == 1 else nir.LI(r=np.full(SHAPE, 2.0), **leak)
            ways = [self.place("filter", node, ways)]
        level = float(self.rng.choice([0.5, 1.5, 2.5]))
        cell: nir.NIRNode = nir.Threshold(np.full(SHAPE, level))
        if self.rng.random() < 0.5:
            zero = np.zeros(SHAPE)
            cell = nir.IF(r=np.full(SHAPE, 1 / DT), v_threshold=np.full(SHAPE, level), v_reset=zero)
        self.trains.append(self.place("train", cell, ways))

    def head(self) -> None:
        """Global pools over sums (delayed before or behind), read by matrices that sum at the output."""
        read = {pre for pre, _ in self.edges}
        loose = [name for name in self.trains[1:] if name not in read]
        groups = [loose, [str(name) for name in self.rng.choice(self.trains[1:], 2)]]
        ends = []
        for group in groups:
            members = [self.late(name) if self.rng.random() < 0.2 else name for name in group]
            kind = nir.AvgPool2d if self.rng.random() < 0.5 else nir.SumPool2d
            size, none = np.array(SHAPE[1:]), np.array([0, 0])
            pool = self.place("pool", kind(size, size, none), members)
            for _ in range(int(self.rng.integers(1, 3))):
                late = self.late(pool) if self.rng.random() < 0.3 else pool
                flat = self.place("flat", nir.Flatten({"input": np.array((2, 1, 1))}, 0, -1), [late])
                ends.append(self.place("matrix", nir.Linear(self.rng.integers(-4, 5, (OUTPUTS, 2)) / 4), [flat]))
        self.nodes["output"] = nir.Output({"output": np.array([OUTPUTS])})
        self.edges += [(end, "output") for end in ends]

    def source(self) -> Source:
        for _ in range(int(self.rng.integers(3, 9))):
            self.train()
        self.head()
        deployment = Deployment(STEPS, "spikes", SHAPE, "mean")
        own = semantics()
        graph = nir.NIRGraph(self.nodes, self.edges, metadata=to_metadata(own, deployment), type_check=False)
        return Source(graph, own, deployment)


@pytest.mark.parametrize("seed", range(60))
def test_every_form_of_a_graph_gives_its_spikes(seed: int) -> None:
    source, x = Weaver(seed).source(), bits(seed, 2, STEPS, *SHAPE)
    for payload, sums, delay in ((1, Sums.CHEAPEST, LONG), (255, Sums.SUMMANDS, 63), (255, Sums.RELAYS, LONG)):
        network = lower(source.graph, source.semantics, source.deployment, delay, payload, sums)
        verify(network)
        check = require_equal(check_lowering(source, network, x))
        assert check.compared == x.shape[0] * STEPS * sum(
            p.size for p in network.computed if p.kind is not Kind.RELAY
        ), "every neuron, gate and output"


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("seed", range(12))
def test_every_form_gives_the_same_integers(seed: int, target: str) -> None:
    source, x = Weaver(seed).source(), bits(seed, 2, STEPS, *SHAPE)
    forms = [made_for(source, target, x, sums) for sums in (Sums.SUMMANDS, Sums.RELAYS)]
    assert [made.differences() for made in forms] == [[], []]
    one, other = (made.run_fast() for made in forms)
    for name in one.keys() & other.keys():
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert {p.name for p in forms[0].made.network.computed if p.kind is not Kind.RELAY} == {
        p.name for p in forms[1].made.network.computed if p.kind is not Kind.RELAY
    }
