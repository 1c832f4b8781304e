"""NIR graph to Network[float]: neurons become populations, what lies between them becomes projections.

Several edges into a node sum, so a SEW ADD arrives here as several sources behind one linear layer: one projection per
summand over the same, once stored weights. Gains (1/tau, R) and biases go into weights and neuron biases.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnhw.errors import LoweringError
from snnhw.frontends.dynamics import delays_input, neuron_model
from snnhw.frontends.graph import NEURONS, filter_of, is_readout, readout_of, validate
from snnhw.frontends.source import Source
from snnhw.lowering.compose import Composed, compose
from snnhw.lowering.pools import GlobalPool, worthwhile
from snnhw.lowering.reader import Chain, Reader, Term
from snnhw.lowering.schedule import schedule
from snnhw.lowering.sums import Sums, share_sums
from snnhw.machine import Machine
from snnhw.network import (
    Array,
    Dense,
    FloatNeuron,
    Kind,
    Network,
    Notes,
    Population,
    Projection,
    Shape,
    verify,
)
from snnhw.neurons.decimals import level, squeeze, tidy
from snnhw.semantics import Deployment, Semantics

_ALWAYS = FloatNeuron(v_keep=0.0, threshold=np.asarray(0.5), bias=np.ones(()))
"""A neuron that fires at every step."""


def lower(
    graph: nir.NIRGraph,
    semantics: Semantics,
    deployment: Deployment,
    max_delay: int | None = None,
    payload: int = 1,
    sums: Sums = Sums.CHEAPEST,
) -> Network[FloatNeuron]:
    """The float network of a NIR graph, scheduled.

    Args:
        max_delay: longest delay of the target in chip steps; longer ones pass through relay populations. None for a
            network that only runs in float: it is not scheduled, and loops may be faster than any chip.
        payload: largest graded spike of the target; 1 where there are none.
        sums: how sums of spikes reach their readers (the integers are the same).

    Raises:
        LoweringError, SourceError: what cannot be expressed, with the node's name.
    """
    validate(graph)
    reader = Reader(graph, semantics)
    maker = _Maker(reader, payload)
    for name in reader.order:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            part, shape = reader.inputs[name]
            _require_shape(name, shape if part is None else (part[2],), deployment)
            maker.populations.append(Population(name, shape, Kind.INPUT, part=part))
        elif isinstance(node, NEURONS):
            front = filter_of(graph, name)
            rule, before = semantics.at(name), graph.nodes[front] if front else None
            neuron, gain = shareable(*neuron_model(node, rule, before))
            kind = Kind.GATE if isinstance(node, nir.Threshold) else Kind.NEURON
            population = Population(name, reader.shapes[name], kind, neuron, payload=(0, neuron.max_spikes))
            maker.connect(population, front or name, gain, delays_input(node, rule, before))
        elif is_readout(graph, name):
            neuron, gain = neuron_model(node, semantics.at(name))
            population = Population(name, reader.shapes[name], Kind.ACCUMULATOR, neuron)
            maker.connect(population, name, gain, delays_input(node, semantics.at(name)))
        elif isinstance(node, nir.Output) and readout_of(graph, name) == "mean":
            resting = FloatNeuron(v_keep=1.0, threshold=np.zeros(()), bias=np.zeros(()))
            maker.connect(Population(name, reader.shapes[name], Kind.ACCUMULATOR, resting), name, np.ones(()))
    network = Network(
        tuple(maker.populations),
        tuple(maker.projections),
        maker.weights,
        deployment.steps,
        reader.readout(deployment),
        Notes(reader.ann_macs(), str(sums), tuple(pool.reason for pool in maker.pools.values())),
        maker.layers,
    )
    if max_delay is not None:
        network = schedule(share_sums(network, payload, sums), max_delay)
    verify(network, timed=max_delay is not None)
    return network


def lower_for(source: Source, target: Machine, sums: str = Sums.CHEAPEST) -> Network[FloatNeuron]:
    """The float network of a source as a target can hold it: its longest delay and its graded spikes."""
    if sums not in list(Sums):
        raise LoweringError(
            "bad-sums", "no such form of sums", where="sums", needed=repr(sums), limit=", ".join(Sums), hint="pick one"
        )
    payload = (1 << target.numeric.payload_bits) - 1 if target.numeric.multi_spike else 1
    delay = target.numeric.delay_max
    return lower(source.graph, source.semantics, source.deployment, delay, payload, Sums(sums))


def _require_shape(name: str, shape: Shape, deployment: Deployment) -> None:
    if shape != tuple(deployment.input_shape):
        raise LoweringError(
            "bad-shape",
            "the graph's input has another shape than the deployment says",
            where=name,
            needed=shape,
            limit=f"deployment: {tuple(deployment.input_shape)}",
        )


class _Maker:
    """Populations and projections made so far."""

    def __init__(self, reader: Reader, payload: int) -> None:
        self.reader, self.payload = reader, payload
        self.populations: list[Population[FloatNeuron]] = []
        self.projections: list[Projection] = []
        self.weights: dict[str, Array] = {}
        self.layers: dict[str, tuple[str, ...]] = {}
        self.pools: dict[str, GlobalPool] = {}

    def connect(self, population: Population[FloatNeuron], entry: str, gain: Array, wait: bool = False) -> None:
        """Add a population and the projections into it; terms with the same chain share one weight array.

        Args:
            entry: the node whose incoming edges are the population's: itself, or the synaptic filter in front.
            wait: all input comes one step late (`current_order`).
        """
        terms = [replace(term, lag=term.lag + wait) for term in self.reader.terms(entry)]
        population = self._with_constants(population, self.reader.constants(entry), gain, wait)
        name, terms = population.name, self._pooled(terms, population)
        composed: dict[tuple[Chain, Shape], tuple[str, Composed]] = {}
        routes: set[str] = set()
        for term in terms:
            pre_shape = self._shape(term.source)
            if (term.chain, pre_shape) not in composed:
                composed[term.chain, pre_shape] = self._operator(term, population, gain, composed)
            label, operator = composed[term.chain, pre_shape]
            route = f"{term.source}->{name}" + (f" via {term.chain[-1]}" if term.chain else "")
            route += f" after {term.lag}" if term.lag else ""
            route += f"#{len(routes)}" if route in routes else ""
            routes.add(route)
            op: Any = replace(operator.kind, weight=label)  # type: ignore[type-var]
            self.projections.append(Projection(route, term.source, name, op, lag=term.lag))
        self.populations.append(population)

    def _with_constants(
        self, population: Population[FloatNeuron], constants: dict[int, Array], gain: Array, wait: bool
    ) -> Population[FloatNeuron]:
        """The population with the constant currents that reach it: its bias where the membrane sees them at once.

        A current that decays, or one that comes late, starts at zero in every sample: it is the input from a neuron
        that fires at every step.
        """
        n = population.model
        if not np.any(n.u_keep) and not wait:
            at_once = constants.pop(0)
            population = replace(population, neuron=replace(n, bias=squeeze_channels(at_once * gain + n.bias)))
        for late, current in constants.items():
            if not current.any():
                continue
            lag = late + wait
            source = f"{population.name}.constant" + (f"{lag}" if lag else "")
            label = f"{population.name}<-{source}"
            self.populations.append(Population(source, (1,), Kind.GATE, _ALWAYS))
            weight = np.broadcast_to(gain, population.shape) * current
            self.weights[label] = np.asarray(weight, np.float64).reshape(-1, 1)
            self.projections.append(
                Projection(f"{source}->{population.name}", source, population.name, Dense(label), lag=lag)
            )
        return population

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
        pre, post = self._shape(term.source), population.shape
        operator = compose(chain, pre, post)
        scaled = operator.kind.scaled(operator.arrays, squeeze_channels(gain), pre, post, name)
        arrays = {**operator.arrays, "": scaled}
        self.weights |= {label + part: array for part, array in arrays.items()}
        self.layers[label] = tuple(node for node, _ in chain)
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
            if any(term.lag for term in members) or len(set(members)) < len(members):
                continue  # what reaches the pool late, or twice, is not one relay's sum
            if not all(map(self._ends_in_matrix, members)):
                continue
            if name not in self.pools and not worthwhile(node, self._members(members), self.payload, population.size):
                continue
            if name not in self.pools:
                self.pools[name] = GlobalPool.make(name, node, self._members(members))
                self.populations.append(self.pools[name].population)
                self.projections += self.pools[name].projections
                self.weights |= self.pools[name].weights
                self.layers |= dict.fromkeys(self.pools[name].weights, (name,))
            chains = sorted({term.chain[1:] for term in members})
            terms = [term for term in terms if term not in members]
            terms += [Term(name, chain) for chain in chains]
        return terms

    def _ends_in_matrix(self, term: Term) -> bool:
        """Whether a matrix follows the pool: only its columns would be replicated over the pixels."""
        nodes = self.reader.graph.nodes
        return any(isinstance(nodes[name], (nir.Affine, nir.Linear)) for name in term.chain[1:])

    def _members(self, terms: list[Term]) -> list[Population[FloatNeuron]]:
        names = sorted({term.source for term in terms})
        return [p for p in self.populations if p.name in names]


def shareable(neuron: FloatNeuron, gain: Array) -> tuple[FloatNeuron, Array]:
    """The same spikes with a gain that weights shared by a channel can hold: 1, where each neuron has its own.

    Membranes are then counted in units of the gain: threshold, bias, start and floor are divided by it.
    """
    if squeeze_channels(gain).ndim < 3 or squeeze_channels(gain).shape[1:] == (1, 1) or (gain <= 0).any():
        return neuron, gain
    units: dict[str, Any] = {
        name: level(tidy(np.asarray(getattr(neuron, name)) / gain))
        for name in neuron.MEMBRANE
        if getattr(neuron, name) is not None
    }
    units |= {name: np.asarray(units[name]) for name in ("threshold", "bias")}
    return replace(neuron, **units), np.ones(())


def squeeze_channels(x: Array) -> Array:
    """A (C, H, W) array that is constant in each channel as (C, 1, 1); one number everywhere as that number."""
    x = squeeze(x)
    if x.ndim == 3 and (x == x[:, :1, :1]).all():
        return np.ascontiguousarray(x[:, :1, :1])
    return x
