"""The NIR graph of a folded run, and the semantics of its neurons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import LINEAR, flow
from snnhw.frontends.live.adapter import Shape
from snnhw.frontends.live.fold import Edges, Folded
from snnhw.frontends.live.values import INPUT, OUTPUT
from snnhw.network import Array
from snnhw.semantics import Semantics

Edge = tuple[str, str]


class Builder:
    """NIR nodes and edges under construction."""

    def __init__(self, folded: Folded, dt: float) -> None:
        self.folded, self.dt = folded, dt
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: dict[Edge, int] = {}
        self.own: dict[str, Mapping[str, Any]] = {}
        self.entry: dict[str, str] = {}
        self.clocks: dict[str, str] = {}
        self.conditions: dict[str, str] = {}

    def build(self, shape: Shape) -> None:
        """All nodes with their edges and lags."""
        self._put(INPUT, nir.Input({"input": np.array(shape)}))
        for name in self.folded.nodes:
            self._node(name)
        last = next(iter(self.folded.ends))[0]
        out = shape if last == INPUT else self.folded.nodes[last].shape
        self._put(OUTPUT, nir.Output({"output": np.array(out)}))
        for name, sources in {**self.folded.edges, OUTPUT: self.folded.ends}.items():
            self._connect(sources, self.entry.get(name, name))
            if name in self.clocks:
                self._connect(sources, self.clocks[name])

    def _put(self, name: str, node: nir.NIRNode) -> None:
        if "/" in name:
            raise SourceError("bad-name", "NIR node names cannot hold '/'", where=name)
        self.nodes[name] = node

    def _node(self, name: str) -> None:
        """A node; of a leaf all that its adapter says."""
        node = self.folded.nodes[name]
        if node.adapter is None or node.layer is None:
            self._put(name, node.node)
            return
        cell = node.adapter.cell(node.layer, node.shape, self.folded.read[name], self.dt, name)
        chain = [f"{name}.in{number}" for number in range(len(cell.before))] + [name]
        for place, part in zip(chain, (*cell.before, cell.node), strict=True):
            self._put(place, part)
        self.edges |= dict.fromkeys(pairwise(chain), 0)
        self.entry[name] = chain[0]
        if cell.condition:
            self.conditions[name] = cell.condition
        if cell.semantics:
            self.own |= {place: cell.semantics for place in chain if not isinstance(self.nodes[place], LINEAR)}
        if cell.recurrent is not None:
            self._put(f"{name}.w_rec", cell.recurrent)
            self.edges |= {(name, f"{name}.w_rec"): 1, (f"{name}.w_rec", name): 0}
        if cell.late is not None:
            self._late(name, cell.late)

    def _late(self, name: str, value: Array) -> None:
        """Input of every step but the first: a gate that is always open, a step late."""
        clock = [f"{name}.{part}" for part in ("always", "clock", "hold", "late")]
        self._put(clock[0], nir.Affine(np.zeros((1, len(value))), np.ones(1)))
        self._put(clock[1], nir.Threshold(np.full(1, 0.5)))
        self._put(clock[2], nir.Delay(np.full(1, self.dt)))
        self._put(clock[3], nir.Linear(value[:, None]))
        self.edges |= dict.fromkeys(pairwise((*clock, name)), 0)
        self.clocks[name] = clock[0]

    def _connect(self, sources: Edges, post: str) -> None:
        """Edges into a node; x + x, which NIR's edge set cannot say, becomes a Scale."""
        lags = Counter(pre for pre, _ in sources)
        for (pre, lag), count in sorted(sources.items()):
            start, late = pre, lag
            if count > 1 or lags[pre] > 1:
                start = f"{post}.times{count}.{pre}" + (f".late{lag}" if lag else "")
                shape = self.nodes[INPUT].input_type["input"] if pre == INPUT else self.folded.nodes[pre].shape
                self._put(start, nir.Scale(np.full(tuple(shape), float(count))))
                self.edges[pre, start] = lag
                late = 0
            self.edges[start, post] = late

    def graph(self, metadata: Mapping[str, Any]) -> nir.NIRGraph:
        """With plain edges where a reader finds out by itself which of them feed back, else with Delay nodes."""
        plain = nir.NIRGraph(dict(self.nodes), list(self.edges), metadata=dict(metadata), type_check=False)
        if not any(self.edges.values()) or self._says_itself(plain):
            return plain
        nodes, edges = dict(self.nodes), []
        for (pre, post), lag in self.edges.items():
            if lag == 0:
                edges.append((pre, post))
                continue
            shape = self.nodes[INPUT].input_type["input"] if pre == INPUT else self.folded.nodes[pre].shape
            late = f"{post}.after.{pre}"
            nodes[late] = nir.Delay(np.full(tuple(shape), lag * self.dt))
            edges += [(pre, late), (late, post)]
        return nir.NIRGraph(nodes, edges, metadata=dict(metadata), type_check=False)

    def _says_itself(self, graph: nir.NIRGraph) -> bool:
        """Whether the feedback that a reader sees delays every way from neuron to neuron as the run did."""
        if any(lag and not self._rests(pre) for (pre, _), lag in self.edges.items()):
            return False
        try:
            found = flow(graph)
        except SourceError:
            return False
        surplus: dict[str, int] = {}
        for _ in range(len(self.nodes)):
            before = dict(surplus)
            for (pre, post), lag in self.edges.items():
                if not isinstance(self.nodes[pre], LINEAR):
                    surplus[pre] = 0
                if pre not in surplus:
                    continue
                total = surplus[pre] + int((pre, post) in found.feedback) - lag
                if surplus.setdefault(post, total) != total or (total and not isinstance(self.nodes[post], LINEAR)):
                    return False
            if surplus == before:
                return True
        return True

    def _rests(self, name: str) -> bool:
        """Whether a node gives zero while all neurons are silent: then the lag may be on either side of it."""
        node = self.nodes[name]
        if not isinstance(node, LINEAR):
            return True
        before = [pre for (pre, post), lag in self.edges.items() if post == name and not lag]
        return not np.any(getattr(node, "bias", 0.0)) and all(map(self._rests, before))

    def semantics(self, default: Semantics) -> Semantics:
        """The first neuron's rules for the network, and where others differ."""
        rules = [rule for rule in self.own.values() if "threshold" in rule] or list(self.own.values())
        start = replace(default, nodes={}, integrator="euler", dt=self.dt)
        common = _with(start, rules[0] if rules else {})
        own = {name: _with(start, rule) for name, rule in self.own.items()}
        nodes = {
            name: {key: _plain(value) for key, value in vars(said).items() if value != getattr(common, key)}
            for name, said in own.items()
        }
        return replace(common, nodes={name: changes for name, changes in nodes.items() if changes})


def _with(semantics: Semantics, rule: Mapping[str, Any]) -> Semantics:
    return replace(semantics, **rule)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
