"""What a NIR graph says of each node: shape, sources with the linear nodes between, constants, readout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from math import prod

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import LoweringError
from snnhw.frontends.dynamics import lag_of, membrane_offset
from snnhw.frontends.graph import (
    LINEAR,
    NEURONS,
    READOUTS,
    flow,
    input_parts,
    outputs,
    predecessors,
    readout_of,
    shows_fit,
)
from snnhw.frontends.own import LinearNode, MaxNode
from snnhw.frontends.simulate import linear, sum_of
from snnhw.lowering.compose import unbiased
from snnhw.network import Array, Readout, Shape
from snnhw.readout import require_fitting, rule_of
from snnhw.semantics import Deployment, Semantics, readout_in

Chain = tuple[str, ...]

MOST_WAYS = 1 << 12
"""Ways into one node: each becomes a projection, and diamonds of linear layers double them."""


@dataclass(frozen=True)
class Term:
    """One way into a node: a spiking source (or the input, or a maximum of currents), the linear nodes in between, and
    its delay in steps."""

    source: str
    chain: Chain
    lag: int = 0


class Reader:
    """The graph with its shapes and the terms of each node."""

    def __init__(self, graph: nir.NIRGraph, semantics: Semantics) -> None:
        self.graph, self.semantics = graph, semantics
        self.before = predecessors(graph)
        found = flow(graph)
        self.order, self.feedback, self.inputs = found.order, found.feedback, input_parts(graph)
        self.place = {name: i for i, name in enumerate(self.order)}
        self.shapes: dict[str, Shape] = {}
        # value of every node when no neuron fires: what biases alone give, by the steps it comes late
        self.offsets: dict[str, dict[int, Tensor]] = {}
        loops = any(self.place[pre] >= self.place[post] for pre, post in graph.edges)
        while self._measured() and loops:  # what comes back brings constants of its own
            pass
        self._terms: dict[str, list[Term]] = {}
        for name in self._linear_order():
            self._terms[name] = self.terms(name)

    def _measured(self) -> bool:
        """Measure what is known something of; whether that changed anything."""
        before = dict(self.offsets)
        for name in self.order:
            if not self.before[name] or any(pre in self.offsets for pre in self.before[name]):
                self._measure(name)
        return any(not _same(before.get(name), found) for name, found in self.offsets.items())

    def _linear_order(self) -> list[str]:
        """Nodes without state, each behind those it reads; a loop always has a neuron, so this order exists."""
        linear_nodes = {name for name in self.order if isinstance(self.graph.nodes[name], LINEAR)}
        before = {name: [pre for pre in self.before[name] if pre in linear_nodes] for name in sorted(linear_nodes)}
        return list(TopologicalSorter(before).static_order())

    def _measure(self, name: str) -> None:
        """Shape and offsets of a node, from the nodes before it; what feeds back brings no shape of its own."""
        node = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            _, shape = self.inputs[name]
            self.shapes[name], self.offsets[name] = shape, {0: torch.zeros(1, *shape, dtype=torch.float64)}
            return
        arriving = self._arriving(name, [pre for pre in self.before[name] if pre in self.offsets])
        if isinstance(node, nir.Delay):
            lag = lag_of(name, node, self.semantics)
            arriving = {0: torch.zeros_like(arriving[0])} | {late + lag: x for late, x in arriving.items() if x.any()}
        elif isinstance(node, LINEAR):
            plain = unbiased(node)
            arriving = {late: linear(plain if late else node, x, name) for late, x in arriving.items()}
        self.shapes[name] = tuple(arriving[0].shape[1:])
        if isinstance(node, (*NEURONS, *READOUTS)):
            check_parameters(name, node, self.shapes[name])
        spikes = isinstance(node, NEURONS)
        self.offsets[name] = {0: torch.zeros_like(arriving[0])} if spikes else arriving

    def _arriving(self, name: str, pres: list[str]) -> dict[int, Tensor]:
        parts: dict[int, list[Tensor]] = {}
        for pre in pres:
            back = (pre, name) in self.feedback  # a bias on the way back acts at once, what is late comes later still
            for late, x in self.offsets[pre].items():
                parts.setdefault(late + (back and late > 0), []).append(x)
        return {late: sum_of(name, parts[late]) for late in sorted(parts)}

    def constants(self, name: str) -> dict[int, Array]:
        """Constant parts of a node's input by the steps they come late; 0 is always there."""
        return {late: np.asarray(x[0].numpy()) for late, x in self._arriving(name, self.before[name]).items()}

    def terms(self, name: str) -> list[Term]:
        """All sources of a node's input with the linear nodes between, in a stable order."""
        found: list[Term] = []
        for pre in self.before[name]:
            node = self.graph.nodes[pre]
            back = int((pre, name) in self.feedback)
            if isinstance(node, nir.Delay):
                lag = back + lag_of(pre, node, self.semantics)
                found += [replace(term, lag=term.lag + lag) for term in self._terms[pre]]
            elif isinstance(node, LINEAR) and not isinstance(node, MaxNode):
                found += [replace(term, chain=(*term.chain, pre), lag=term.lag + back) for term in self._terms[pre]]
            else:
                found.append(Term(pre, (), back))
            if len(found) > MOST_WAYS:
                raise LoweringError(
                    "too-many-ways",
                    "too many ways lead through linear layers into one node",
                    where=name,
                    needed=f"more than {MOST_WAYS}",
                    limit=f"{MOST_WAYS} ways",
                    hint="merge parallel linear layers, or put neurons between them",
                )
        return sorted(found, key=lambda term: (self.place[term.source], term.chain, term.lag))

    def ann_macs(self) -> int:
        """Multiply-accumulates of one forward pass of the layers as an ANN: the field's count, padding included."""
        total = 0
        for name, node in self.graph.nodes.items():
            if isinstance(node, (nir.Conv1d, nir.Conv2d)):
                total += prod(self.shapes[name]) * prod(node.weight.shape[1:])
            elif isinstance(node, (nir.Affine, nir.Linear)):
                total += int(np.asarray(node.weight).size)
            elif isinstance(node, LinearNode) and node.op.multiplies:
                total += int(node.op.fan_out(node.arrays, node.before, node.after).sum())
        return total

    def readout(self, deployment: Deployment) -> Readout:
        """How the prediction is read; the graph must agree with what the deployment says."""
        name = self._output(deployment)
        shows, rule = readout_of(self.graph, name), rule_of(deployment.readout)
        if not shows_fit(shows, rule):
            fitting = shows
            ends = {"rate": "in spikes", "mean": "in a linear layer", "membrane": "in membranes"}[shows]
            raise LoweringError(
                "bad-readout",
                f"the network ends {ends}, which readout {deployment.readout!r} does not read",
                where=name,
                needed=fitting,
                limit="rate, first (spikes), mean (linear layer), membrane (I, LI, CubaLI)",
                hint=f"deploy with readout {fitting!r}",
            )
        read = name if shows == "mean" else self.before[name][0]
        found = readout_in(deployment, shows, read)
        if (found.kind, shows) == ("membrane", "rate"):
            found = replace(found, offset=self._rest(read))
        require_fitting(found, prod(self.shapes[read]), deployment.steps)
        return found

    def _rest(self, name: str) -> float:
        """What a neuron's membrane is where the network's is zero: it is counted from the potential of the reset."""
        rest = membrane_offset(self.graph.nodes[name], self.semantics.at(name))
        if rest.size and (rest != rest.flat[0]).any():
            raise LoweringError(
                "bad-readout",
                "membranes are read that reset to different potentials",
                where=name,
                needed=f"{rest.min():g} to {rest.max():g}",
                limit="one reset potential",
                hint="read the spikes, or give all neurons of the layer one v_reset",
            )
        return float(rest.flat[0]) if rest.size else 0.0

    def _output(self, deployment: Deployment) -> str:
        """The output that predictions are read from."""
        names = outputs(self.graph)
        chosen = deployment.output or (names[0] if len(names) == 1 else None)
        if chosen not in names:
            raise LoweringError(
                "which-output",
                "the graph has no such output"
                if chosen
                else "the graph has several outputs: which one is the prediction read from?",
                where=chosen or ", ".join(names),
                limit=", ".join(names),
                hint="give --output-node NAME",
            )
        return chosen


def _same(one: dict[int, Tensor] | None, other: dict[int, Tensor]) -> bool:
    return one is not None and one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def check_parameters(name: str, node: nir.NIRNode, shape: Shape) -> None:
    """Every parameter of a neuron node is one number or has the node's shape."""
    for field in ("r", "tau", "tau_syn", "tau_mem", "w_in", "v_leak", "v_reset", "v_threshold", "threshold"):
        found = np.shape(getattr(node, field, 0.0))
        if found not in ((), (1,), shape):
            raise LoweringError(
                "bad-shape",
                "a neuron parameter has another shape than what arrives",
                where=f"{name}.{field}",
                needed=shape,
                limit=f"got {found}",
            )
