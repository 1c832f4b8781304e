"""NIR graph to Network[float]: neurons become populations, what lies between them becomes projections.

Several edges into a node sum, so a SEW ADD arrives here as several sources behind one linear layer: one projection per
summand over the same, once stored weights. Gains (1/tau, R) and biases go into weights and neuron biases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import LoweringError
from snnhw.frontends.graph import FILTERS, LINEAR, NEURONS, filter_of, predecessors, topological, validate
from snnhw.frontends.simulate import lag_of, linear, neuron_model, squeeze, sum_of
from snnhw.frontends.source import Source
from snnhw.linear import scale_rows
from snnhw.lowering.compose import Composed, compose
from snnhw.lowering.pools import GlobalPool, worthwhile
from snnhw.lowering.schedule import schedule
from snnhw.lowering.sums import FORMS, Sums, share_sums
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
from snnhw.target import Target

Chain = tuple[str, ...]

ANN_MACS = "ann_macs"
"""Key of `Network.notes`: what the layers cost as an ANN, counted before pools are composed away."""


SUMS = "sums"
"""Key of `Network.notes`: the form of sums that was asked for."""


@dataclass(frozen=True)
class Term:
    """One way into a node: a spiking source (or the input), the linear nodes in between, and its delay in steps."""

    source: str
    chain: Chain
    lag: int = 0


def lower(
    graph: nir.NIRGraph,
    semantics: Semantics,
    deployment: Deployment,
    max_delay: int,
    payload: int = 1,
    sums: Sums = Sums.CHEAPEST,
) -> Network[FloatNeuron]:
    """The float network of a NIR graph, scheduled.

    Args:
        max_delay: longest delay of the target in chip steps; longer ones pass through relay populations.
        payload: largest graded spike of the target; 1 where there are none.
        sums: how sums of spikes reach their readers (the integers are the same).

    Raises:
        LoweringError, SourceError: what cannot be expressed, with the node's name.
    """
    validate(graph)
    reader = _Reader(graph, semantics)
    maker = _Maker(reader, payload)
    for name in reader.order:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            maker.populations.append(Population(name, _input_shape(name, reader.shapes[name], deployment), Kind.INPUT))
        elif isinstance(node, NEURONS):
            front = filter_of(graph, name)
            neuron, gain = neuron_model(node, semantics.at(name), graph.nodes[front] if front else None)
            bias = squeeze_channels(reader.bias(front or name) * gain + neuron.bias)
            if front and reader.bias(front).any():
                raise _bias_before(front, "synaptic filter")
            kind = Kind.GATE if isinstance(node, nir.Threshold) else Kind.NEURON
            most = (0, neuron.max_spikes)
            population = Population(name, reader.shapes[name], kind, replace(neuron, bias=bias), payload=most)
            maker.connect(population, front or name, gain)
        elif isinstance(node, nir.Output) and not reader.is_plain_output(name):
            resting = FloatNeuron(v_keep=1.0, threshold=np.zeros(()), bias=squeeze_channels(reader.bias(name)))
            maker.connect(Population(name, reader.shapes[name], Kind.ACCUMULATOR, resting), name, np.ones(()))
    network = Network(
        tuple(maker.populations),
        tuple(maker.projections),
        maker.weights,
        deployment.steps,
        reader.readout(deployment),
        {ANN_MACS: reader.ann_macs(), SUMS: str(sums), **maker.notes()},
    )
    network = schedule(share_sums(network, payload, sums), max_delay)
    verify(network)
    return network


def lower_for(source: Source, target: Target, sums: str = Sums.CHEAPEST) -> Network[FloatNeuron]:
    """The float network of a source as a target can hold it: its longest delay and its graded spikes."""
    if sums not in list(Sums):
        raise LoweringError(
            "bad-sums", "no such form of sums", where="sums", needed=repr(sums), limit=", ".join(Sums), hint="pick one"
        )
    payload = (1 << int(target["numeric.payload_bits"])) - 1 if target["numeric.multi_spike"] else 1
    delay = int(target["numeric.delay_max"])
    return lower(source.graph, source.semantics, source.deployment, delay, payload, Sums(sums))


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


def _bias_before(name: str, what: str) -> LoweringError:
    return LoweringError(
        "bias-before",
        f"a constant current goes through a {what}, which is not supported",
        where=name,
        needed="no bias in the layers before it",
        hint="move the bias behind it, or train without",
    )


class _Reader:
    """The graph with its shapes and the terms of each node."""

    def __init__(self, graph: nir.NIRGraph, semantics: Semantics) -> None:
        self.graph, self.semantics = graph, semantics
        self.before = predecessors(graph)
        self.order = topological(graph)
        self.place = {name: i for i, name in enumerate(self.order)}
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
            if isinstance(node, nir.Delay) and value.any():
                raise _bias_before(name, "delay")
        self.shapes[name] = tuple(value.shape[1:])
        if isinstance(node, (*NEURONS, *FILTERS)):
            check_parameters(name, node, self.shapes[name])
        self.offsets[name] = torch.zeros_like(value) if isinstance(node, NEURONS) else value

    def bias(self, name: str) -> Array:
        """Constant part of a node's input."""
        return np.asarray(sum_of(name, [self.offsets[pre] for pre in self.before[name]])[0].numpy())

    def terms(self, name: str) -> list[Term]:
        """All sources of a node's input with the linear nodes between, in a stable order."""
        found: list[Term] = []
        for pre in self.before[name]:
            node = self.graph.nodes[pre]
            if isinstance(node, nir.Delay):
                lag = lag_of(pre, node, self.semantics)
                found += [replace(term, lag=term.lag + lag) for term in self.terms(pre)]
            elif isinstance(node, LINEAR):
                found += [replace(term, chain=(*term.chain, pre)) for term in self.terms(pre)]
            else:
                found.append(Term(pre, ()))
        return sorted(found, key=lambda term: (self.place[term.source], term.chain, term.lag))

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
        fitting = "mean" if not plain else "first" if deployment.readout == "first" else "rate"
        if deployment.readout != fitting:
            ends = "in spikes" if plain else "in a linear layer"
            raise LoweringError(
                "bad-readout",
                f"the network ends {ends}, which readout {deployment.readout!r} does not read",
                where=name,
                needed=fitting,
                limit="rate, first (spikes), mean (linear layer)",
                hint=f"deploy with readout {fitting!r}",
            )
        return Readout(fitting, self.terms(name)[0].source if plain else name)


class _Maker:
    """Populations and projections made so far."""

    def __init__(self, reader: _Reader, payload: int) -> None:
        self.reader, self.payload = reader, payload
        self.populations: list[Population[FloatNeuron]] = []
        self.projections: list[Projection] = []
        self.weights: dict[str, Array] = {}
        self.pools: dict[str, GlobalPool] = {}

    def connect(self, population: Population[FloatNeuron], entry: str, gain: Array) -> None:
        """Add a population and the projections into it; terms with the same chain share one weight array.

        Args:
            entry: the node whose incoming edges are the population's: itself, or the synaptic filter in front.
        """
        name, terms = population.name, self._pooled(self.reader.terms(entry), population)
        composed: dict[tuple[Chain, Shape], tuple[str, Composed]] = {}
        routes: set[str] = set()
        for term in terms:
            pre_shape = self._shape(term.source)
            if (term.chain, pre_shape) not in composed:
                composed[term.chain, pre_shape] = self._operator(term, population, gain, composed)
            label, operator = composed[term.chain, pre_shape]
            assert not isinstance(operator.kind, Inject)
            route = f"{term.source}->{name}" + (f" via {term.chain[-1]}" if term.chain else "")
            route += f" after {term.lag}" if term.lag else ""
            route += f"#{len(routes)}" if route in routes else ""
            routes.add(route)
            op = replace(operator.kind, weight=label)
            self.projections.append(Projection(route, term.source, name, op, lag=term.lag))
        self.populations.append(population)

    def _operator(
        self,
        term: Term,
        population: Population[FloatNeuron],
        gain: Array,
        composed: dict[tuple[Chain, Shape], tuple[str, Composed]],
    ) -> tuple[str, Composed]:
        name = population.name
        label = f"{name}<-{term.chain[-1] if term.chain else 'identity'}"
        label += f"#{len(composed)}" if any(label == used for used, _ in composed.values()) else ""
        chain = [(node, self.reader.graph.nodes[node]) for node in term.chain]
        if term.source in self.pools:
            chain = [(term.source, self.pools[term.source].remainder), *chain]
        operator = compose(chain, self._shape(term.source), population.shape)
        arrays = scale_rows(operator.kind, operator.arrays, squeeze_channels(gain), population.shape, name)
        self.weights |= {label + part: array for part, array in arrays.items()}
        return label, replace(operator, arrays=arrays)

    def _shape(self, name: str) -> Shape:
        return self.pools[name].population.shape if name in self.pools else self.reader.shapes[name]

    def _pooled(self, terms: list[Term], population: Population[FloatNeuron]) -> list[Term]:
        """Terms that begin with a global pool start from a graded relay of that pool, where that is cheaper."""
        by_pool: dict[str, list[Term]] = {}
        for term in terms:
            if term.chain:
                by_pool.setdefault(term.chain[0], []).append(term)
        for name, members in by_pool.items():
            node = self.reader.graph.nodes[name]
            if len({term.lag for term in members}) > 1 or len(set(members)) < len(members):
                continue  # what reaches the pool at two times, or twice, is not one relay's sum
            if not all(map(self._ends_in_matrix, members)):
                continue
            if name not in self.pools and not worthwhile(node, self._members(members), self.payload, population.size):
                continue
            if name not in self.pools:
                self.pools[name] = GlobalPool.make(name, node, self._members(members))
                self.populations.append(self.pools[name].population)
                self.projections += self.pools[name].projections
                self.weights |= self.pools[name].weights
            chains = sorted({(term.chain[1:], term.lag) for term in members})
            terms = [term for term in terms if term not in members]
            terms += [Term(name, chain, lag) for chain, lag in chains]
        return terms

    def _ends_in_matrix(self, term: Term) -> bool:
        """Whether a matrix follows the pool: only its columns would be replicated over the pixels."""
        nodes = self.reader.graph.nodes
        return any(isinstance(nodes[name], (nir.Affine, nir.Linear)) for name in term.chain[1:])

    def _members(self, terms: list[Term]) -> list[Population[FloatNeuron]]:
        names = sorted({term.source for term in terms})
        return [p for p in self.populations if p.name in names]

    def notes(self) -> dict[str, Any]:
        """What was chosen for pools, for `explain`."""
        return {FORMS: tuple(pool.row for pool in self.pools.values())} if self.pools else {}


def check_parameters(name: str, node: nir.NIRNode, shape: Shape) -> None:
    """Every parameter of a neuron node is one number or has the node's shape."""
    for field in ("r", "tau", "v_leak", "v_reset", "v_threshold", "threshold"):
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
