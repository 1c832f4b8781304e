"""NIR graph to Network[float]: neurons become populations, what lies between them becomes projections.

Several edges into a node sum, so a SEW ADD arrives here as several sources behind one linear layer: one projection per
summand over the same, once stored weights. Gains (1/tau, R) and biases go into weights and neuron biases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import LoweringError
from snnhw.frontends.graph import LINEAR, NEURONS, predecessors, topological, validate
from snnhw.frontends.simulate import linear, neuron_model, squeeze, sum_of
from snnhw.linear import scale_rows
from snnhw.lowering.compose import Composed, compose
from snnhw.lowering.schedule import schedule
from snnhw.network import (
    Array,
    FloatNeuron,
    Inject,
    Kind,
    Network,
    Population,
    Projection,
    Readout,
    Shape,
    verify,
)
from snnhw.semantics import Deployment, Semantics

Chain = tuple[str, ...]

ANN_MACS = "ann_macs"
"""Key of `Network.notes`: what the layers cost as an ANN, counted before pools are composed away."""


@dataclass(frozen=True)
class Term:
    """One way into a node: a spiking source (or the input) and the linear nodes in between."""

    source: str
    chain: Chain


def lower(graph: nir.NIRGraph, semantics: Semantics, deployment: Deployment, max_delay: int) -> Network[FloatNeuron]:
    """The float network of a NIR graph, scheduled.

    Args:
        max_delay: longest delay of the target in chip steps; longer ones pass through relay populations.

    Raises:
        LoweringError, SourceError: what cannot be expressed, with the node's name.
    """
    validate(graph)
    reader = _Reader(graph)
    populations: list[Population[FloatNeuron]] = []
    projections: list[Projection] = []
    weights: dict[str, Array] = {}
    for name in reader.order:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            populations.append(Population(name, _input_shape(name, reader.shapes[name], deployment), Kind.INPUT))
        elif isinstance(node, NEURONS):
            neuron, gain = neuron_model(node, semantics.at(name))
            bias = squeeze_channels(reader.bias(name) * gain + neuron.bias)
            populations.append(Population(name, reader.shapes[name], Kind.NEURON, replace(neuron, bias=bias)))
            projections += reader.projections(name, gain, weights)
        elif isinstance(node, nir.Output) and not reader.is_plain_output(name):
            resting = FloatNeuron(v_keep=1.0, threshold=np.zeros(()), bias=squeeze_channels(reader.bias(name)))
            populations.append(Population(name, reader.shapes[name], Kind.ACCUMULATOR, resting))
            projections += reader.projections(name, np.ones(()), weights)
    readout = reader.readout(deployment)
    notes = {ANN_MACS: reader.ann_macs()}
    network = Network(tuple(populations), tuple(projections), weights, deployment.steps, readout, notes)
    network = schedule(network, max_delay)
    verify(network)
    return network


def _input_shape(name: str, shape: Shape, deployment: Deployment) -> Shape:
    if shape != tuple(deployment.input_shape):
        raise LoweringError(
            "bad-shape",
            "the graph's input has another shape than the deployment says",
            where=name,
            needed=shape,
            limit=f"deployment: {tuple(deployment.input_shape)}",
        )
    return shape


class _Reader:
    """The graph with its shapes and the terms of each node."""

    def __init__(self, graph: nir.NIRGraph) -> None:
        self.graph = graph
        self.before = predecessors(graph)
        self.order = topological(graph)
        self.shapes: dict[str, Shape] = {}
        self.offsets: dict[str, Tensor] = {}  # value of every node when no neuron fires: what biases alone give
        for name in self.order:
            self._measure(name)

    def _measure(self, name: str) -> None:
        node = self.graph.nodes[name]
        if isinstance(node, nir.Input):
            value = torch.zeros(1, *(int(n) for n in np.asarray(node.input_type["input"]).ravel()), dtype=torch.float64)
        else:
            value = sum_of(name, [self.offsets[pre] for pre in self.before[name]])
            if isinstance(node, LINEAR):
                value = linear(node, value, name)
        self.shapes[name] = tuple(value.shape[1:])
        if isinstance(node, NEURONS):
            check_parameters(name, node, self.shapes[name])
        self.offsets[name] = torch.zeros_like(value) if isinstance(node, NEURONS) else value

    def bias(self, name: str) -> Array:
        """Constant part of a node's input."""
        return np.asarray(sum_of(name, [self.offsets[pre] for pre in self.before[name]])[0].numpy())

    def terms(self, name: str) -> list[Term]:
        """All sources of a node's input with the linear nodes between, in a stable order."""
        found: list[Term] = []
        for pre in self.before[name]:
            if isinstance(self.graph.nodes[pre], LINEAR):
                found += [Term(term.source, (*term.chain, pre)) for term in self.terms(pre)]
            else:
                found.append(Term(pre, ()))
        return sorted(found, key=lambda term: (self.order.index(term.source), term.chain))

    def projections(self, name: str, gain: Array, weights: dict[str, Array]) -> list[Projection]:
        """Projections into a node; terms with the same chain share one weight array."""
        composed: dict[tuple[Chain, Shape], tuple[str, Composed]] = {}
        made: list[Projection] = []
        for term in self.terms(name):
            key = (term.chain, self.shapes[term.source])
            if key not in composed:
                label = f"{name}<-{term.chain[-1] if term.chain else 'identity'}"
                label += f"#{len(composed)}" if any(label == used for used, _ in composed.values()) else ""
                chain = [(node, self.graph.nodes[node]) for node in term.chain]
                operator = compose(chain, self.shapes[term.source], self.shapes[name])
                arrays = scale_rows(operator.kind, operator.arrays, squeeze_channels(gain), self.shapes[name], name)
                operator = replace(operator, arrays=arrays)
                composed[key] = (label, operator)
                weights |= {label + part: array for part, array in operator.arrays.items()}
            label, operator = composed[key]
            assert not isinstance(operator.kind, Inject)
            op = replace(operator.kind, weight=label)
            route = f"{term.source}->{name}" + (f" via {term.chain[-1]}" if term.chain else "")
            made.append(
                Projection(
                    route if all(p.name != route for p in made) else f"{route}#{len(made)}", term.source, name, op
                )
            )
        return made

    def ann_macs(self) -> int:
        """Multiply-accumulates of one forward pass of the layers as an ANN: the field's count, padding included."""
        total = 0
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.Conv2d):
                total += prod(self.shapes[name]) * prod(node.weight.shape[1:])
            elif isinstance(node, (nir.Affine, nir.Linear)):
                total += int(np.asarray(node.weight).size)
        return total

    def output(self) -> str:
        """Name of the output node."""
        found = [name for name, node in self.graph.nodes.items() if isinstance(node, nir.Output)]
        return str(found[0])

    def is_plain_output(self, name: str) -> bool:
        """Whether the output shows the spikes of one neuron node as they are."""
        terms = self.terms(name)
        return len(terms) == 1 and terms[0].chain == () and isinstance(self.graph.nodes[terms[0].source], NEURONS)

    def readout(self, deployment: Deployment) -> Readout:
        """How the prediction is read; the graph's shape must agree with what the deployment says."""
        name = self.output()
        plain = self.is_plain_output(name)
        fitting = "rate" if plain else "mean"
        if deployment.readout != fitting:
            ends = "in spikes" if plain else "in a linear layer"
            raise LoweringError(
                "bad-readout",
                f"the network ends {ends}, which readout {deployment.readout!r} does not read",
                where=name,
                needed=fitting,
                limit="rate (spikes), mean (linear layer)",
                hint=f"deploy with readout {fitting!r}",
            )
        return Readout(fitting, self.terms(name)[0].source if plain else name)


def check_parameters(name: str, node: nir.NIRNode, shape: Shape) -> None:
    """Every parameter of a neuron node is one number or has the node's shape."""
    for field in ("r", "tau", "v_leak", "v_reset", "v_threshold"):
        found = np.shape(getattr(node, field, 0.0))
        if found not in ((), (1,), shape):
            raise LoweringError(
                "bad-shape",
                "a neuron parameter has another shape than what arrives",
                where=f"{name}.{field}",
                needed=shape,
                limit=f"got {found}",
            )


def squeeze_channels(x: Array) -> Array:
    """A (C, H, W) array that is constant in each channel as (C, 1, 1); one number everywhere as that number."""
    x = squeeze(x)
    if x.ndim == 3 and (x == x[:, :1, :1]).all():
        return np.ascontiguousarray(x[:, :1, :1])
    return x
