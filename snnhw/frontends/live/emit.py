"""The NIR graph of a folded run, and the semantics of its neurons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import LINEAR, flow
from snnhw.frontends.live.adapter import GIVEN, Shape
from snnhw.frontends.live.fold import Edges, Folded
from snnhw.frontends.live.values import INPUT, OUTPUT
from snnhw.semantics import PLAIN, Semantics

Edge = tuple[str, str]


class Builder:
    """NIR nodes and edges under construction."""

    def __init__(self, folded: Folded, dt: float) -> None:
        self.folded, self.dt = folded, dt
        self.nodes: dict[str, nir.NIRNode] = {}
        self.shapes: dict[str, Shape] = {}
        self.edges: dict[Edge, int] = {}
        self.own: dict[str, Mapping[str, Any]] = {}
        self.entries: dict[str, list[str]] = {}
        self.ends: dict[str, list[str]] = {}

    def build(self, shape: Shape) -> None:
        """All nodes with their edges and lags."""
        self._put(INPUT, nir.Input({"input": np.array(shape)}), shape)
        for name in self.folded.nodes:
            self._node(name)
        out = self.shapes[next(iter(self.folded.ends))[0]]
        self._put(OUTPUT, nir.Output({"output": np.array(out)}), out)
        for name, sources in {**self.folded.edges, OUTPUT: self.folded.ends}.items():
            for entry in self.entries.get(name, [name]):
                self._connect(sources, entry)

    def _put(self, name: str, node: nir.NIRNode, shape: Shape) -> None:
        if "/" in name:
            raise SourceError("bad-name", "NIR node names cannot hold '/'", where=name)
        self.nodes[name], self.shapes[name] = node, shape

    def _node(self, name: str) -> None:
        """A node; of a leaf all that its adapter says."""
        node = self.folded.nodes[name]
        cell = node.cell(name, self.folded.read[name], self.dt)
        for suffix, part in cell.parts.items():
            self._put(name + suffix, part.node, node.shape)
            if part.semantics:
                self.own[name + suffix] = part.semantics
            for source, lag in part.reads:
                if source == GIVEN:
                    self.entries.setdefault(name, []).append(name + suffix)
                else:
                    self.edges[name + source, name + suffix] = lag
        self.shapes[name] = node.shape
        self.ends[name] = [name + end for end in cell.ends]

    def _connect(self, sources: Edges, post: str) -> None:
        """Edges into a node; x + x, which NIR's edge set cannot say, becomes a Scale."""
        lags = Counter(pre for pre, _ in sources)
        for (name, lag), count in sorted(sources.items()):
            for pre in self.ends.get(name, [name]):
                if count == 1 and lags[name] == 1:
                    self.edges[pre, post] = lag
                    continue
                start = f"{post}.times{count}.{pre}" + (f".late{lag}" if lag else "")
                self._put(start, nir.Scale(np.full(self.shapes[name], float(count))), self.shapes[name])
                self.edges |= {(pre, start): lag, (start, post): 0}

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
            late = f"{post}.after.{pre}"
            nodes[late] = nir.Delay(np.full(self.shapes[pre], lag * self.dt))
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
        start = Semantics(**{**PLAIN, "dt": self.dt, "time_layout": default.time_layout})
        common = replace(start, **(rules[0] if rules else {}))
        own = {name: replace(start, **rule) for name, rule in self.own.items()}
        nodes = {
            name: {key: _plain(value) for key, value in vars(said).items() if value != getattr(common, key)}
            for name, said in own.items()
        }
        return replace(common, nodes={name: changes for name, changes in nodes.items() if changes})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
