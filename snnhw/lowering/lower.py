"""NIR graph to Network[float]: neurons become populations, what lies between them becomes projections.

Several edges into a node sum, so a SEW ADD arrives here as several sources behind one linear layer: one projection per
summand over the same, once stored weights. Gains (1/tau, R) and biases go into weights and neuron biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnhw.errors import LoweringError
from snnhw.frontends.dynamics import delays_input, neuron_model
from snnhw.frontends.graph import NEURONS, filter_of, is_readout, readout_of, validate
from snnhw.frontends.own import MaxNode
from snnhw.frontends.source import Source
from snnhw.lowering.compose import Composed, compose
from snnhw.lowering.maxima import (
    MINUS,
    TURNED,
    Tournament,
    convolution,
    gain_behind,
    require_alike,
    require_candidates,
    turned,
)
from snnhw.lowering.maxima import Source as Summand
from snnhw.lowering.pooled_spikes import POOL_AFTER_SPIKES, PooledSpikes, require_poolable, require_rising, spread
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
from snnhw.neurons.base import UNLIMITED
from snnhw.neurons.decimals import level, squeeze, tidy
from snnhw.operators.candidate import Pool
from snnhw.rationale import Reason
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
    approximate: str = "",
) -> Network[FloatNeuron]:
    """The float network of a NIR graph, scheduled.

    Args:
        max_delay: longest delay of the target in chip steps; longer ones pass through relay populations. None for a
            network that only runs in float: it is not scheduled, and loops may be faster than any chip.
        payload: largest graded spike of the target; 1 where there are none.
        sums: how sums of spikes reach their readers (the integers are the same).
        approximate: POOL_AFTER_SPIKES: where a neuron reads a maximum of currents, the neuron comes first.

    Raises:
        LoweringError, SourceError: what cannot be expressed, with the node's name.
    """
    validate(graph)
    reader = Reader(graph, semantics)
    maker = _Maker(reader, payload, max_delay is not None)
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
            if approximate and maker.pool_after(population, front or name, gain, delays_input(node, rule, before)):
                continue
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
        Notes(reader.ann_macs(), str(sums), (*(pool.reason for pool in maker.pools.values()), *maker.maxima)),
        maker.layers,
    )
    if max_delay is not None:
        network = schedule(share_sums(network, payload, sums), max_delay)
    verify(network, timed=max_delay is not None)
    return network


def lower_for(
    source: Source, target: Machine, sums: str = Sums.CHEAPEST, approximate: str = "", graded: bool = False
) -> Network[FloatNeuron]:
    """The float network of a source as a target can hold it: its longest delay and its graded spikes.

    Args:
        graded: as if it had any: the network that an approximation is measured by.
    """
    if approximate not in ("", POOL_AFTER_SPIKES):
        raise LoweringError(
            "bad-approximation",
            "no such approximation",
            where="approximate",
            needed=repr(approximate),
            limit=POOL_AFTER_SPIKES,
            hint="leave it out, or name that one",
        )
    if sums not in list(Sums):
        raise LoweringError(
            "bad-sums", "no such form of sums", where="sums", needed=repr(sums), limit=", ".join(Sums), hint="pick one"
        )
    payload = (1 << target.numeric.payload_bits) - 1 if target.numeric.multi_spike else 1
    payload = UNLIMITED if graded else payload
    delay = target.numeric.delay_max
    return lower(source.graph, source.semantics, source.deployment, delay, payload, Sums(sums), approximate)


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

    def __init__(self, reader: Reader, payload: int, placed: bool) -> None:
        self.reader, self.payload, self.placed = reader, payload, placed
        self.populations: list[Population[FloatNeuron]] = []
        self.projections: list[Projection] = []
        self.routes: set[str] = set()
        self.weights: dict[str, Array] = {}
        self.layers: dict[str, tuple[str, ...]] = {}
        self.pools: dict[str, GlobalPool] = {}
        self.maxima: list[Reason] = []

    def pool_after(self, population: Population[FloatNeuron], entry: str, gain: Array, wait: bool) -> bool:
        """Make a neuron that reads a maximum of currents of the currents themselves, and pool its spikes.

        Returns:
            False where it reads no maximum; nothing is made then.
        """
        reader, after = self.reader, population.shape
        terms = reader.terms(entry)
        maxima = [term for term in terms if isinstance(reader.graph.nodes[term.source], MaxNode)]
        if not maxima:
            return False
        where = maxima[0].source
        shape = reader.shapes[reader.before[where][0]]
        require_poolable(population, len(terms), maxima[0].lag, where)
        factor = gain_behind(compose(self._nodes(maxima[0].chain), reader.shapes[where], after), after, after, where)
        require_rising(factor, where)
        constants = reader.constants(entry)
        require_alike(constants, where)
        whole = {late: spread(found, shape) for late, found in constants.items()}
        pooled = PooledSpikes(population, shape, reader.graph.nodes[where].pool, where)
        self.connect(pooled.neuron, where, gain, wait, whole, factor)
        self.populations.append(pooled.gate)
        self.projections.append(pooled.projection)
        self.weights |= pooled.weights
        self.maxima.append(pooled.reason)
        return True

    def connect(
        self,
        population: Population[FloatNeuron],
        entry: str,
        gain: Array,
        wait: bool = False,
        constants: dict[int, Array] | None = None,
        factor: Array | float = 1.0,
    ) -> None:
        """Add a population and the projections into it; terms with the same chain share one weight array.

        Args:
            entry: the node whose incoming edges are the population's: itself, or the synaptic filter in front.
            wait: all input comes one step late (`current_order`).
            constants: that reach it, by the steps they come late; those of the entry if None.
            factor: of everything but these.
        """
        terms = [replace(term, lag=term.lag + wait) for term in self.reader.terms(entry)]
        constants = self.reader.constants(entry) if constants is None else constants
        population, gain = self._with_constants(population, constants, gain, wait), np.asarray(gain * factor)
        name, terms = population.name, self._pooled(self._without_maxima(terms, population, gain), population)
        composed: dict[tuple[Chain, Shape], tuple[str, Composed]] = {}
        for term in terms:
            pre_shape = self._shape(term.source)
            if (term.chain, pre_shape) not in composed:
                composed[term.chain, pre_shape] = self._operator(term, population, gain)
            label, operator = composed[term.chain, pre_shape]
            route = f"{term.source}->{name}" + (f" via {term.chain[-1]}" if term.chain else "")
            route += f" after {term.lag}" if term.lag else ""
            op: Any = replace(operator.kind, weight=label)  # type: ignore[type-var]
            self._add(Projection(route, term.source, name, op, lag=term.lag))
        self.populations.append(population)

    def _add(self, projection: Projection) -> None:
        """Add a projection, numbered where another one has its name: a layer may reach a neuron in several ways."""
        names = (projection.name, *(f"{projection.name}#{n}" for n in range(1, len(self.routes) + 1)))
        name = next(name for name in names if name not in self.routes)
        self.routes.add(name)
        self.projections.append(replace(projection, name=name))

    def _label(self, wanted: str, chain: Chain, arrays: Mapping[str, Array], made: Mapping[str, Array]) -> str:
        """A name for weights of a chain of layers: that of equal ones, numbered where others have it.

        Args:
            arrays: the weights by their endings.
            made: all that have names, with their endings.
        """
        for label in (wanted, *(f"{wanted}#{n}" for n in range(1, len(self.layers) + 1))):
            alike = all(np.array_equal(made.get(label + end, array), array) for end, array in arrays.items())
            if alike and self.layers.get(label, chain) == chain:
                break
        self.layers[label] = chain
        return label

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

    def _without_maxima(self, terms: list[Term], population: Population[FloatNeuron], gain: Array) -> list[Term]:
        """Terms but those that are a maximum of currents, which relays are made of."""
        left, made = [], 0
        for term in terms:
            node = self.reader.graph.nodes[term.source]
            if not isinstance(node, MaxNode):
                left.append(term)
                continue
            self._require_graded(term.source)
            found, arrays = self._tournament(term, node.pool, population, gain, made + 1)
            made += len(found.populations)
            self.populations += found.populations
            for projection in found.projections:
                self._add(projection)
            self.weights |= found.weights(arrays)
            labels = {label + ending: label for label in arrays for ending in ("", MINUS, TURNED)}
            self.layers |= {name: self.layers[label] for name, label in labels.items() if name in self.weights}
            self.maxima.append(found.reason)
        return left

    def _require_graded(self, where: str) -> None:
        if self.payload == 1 and self.placed:
            raise LoweringError(
                "maximum-of-currents",
                "a maximum of currents takes graded spikes, which the target does not have",
                where=where,
                needed="payloads of more than one bit",
                limit="spikes of 0 or 1",
                hint="choose a target that has them (--target loihi2: exact), or --approximate pool-after-spikes",
            )

    def _tournament(
        self, term: Term, pool: Pool, population: Population[FloatNeuron], gain: Array, first: int
    ) -> tuple[Tournament, dict[str, Array]]:
        """The relays of one maximum, and the weights of the layers that it is over by their names.

        Args:
            first: number of its first relay.
        """
        reader, name, where = self.reader, population.name, term.source
        shape, taken = reader.shapes[where], reader.shapes[reader.before[where][0]]
        require_candidates(pool, taken, where)
        require_alike(reader.constants(where), where)
        factor = gain_behind(compose(self._nodes(term.chain), shape, population.shape), shape, population.shape, where)
        factor = factor * squeeze_channels(gain)
        signs = np.where(factor < 0, -1.0, 1.0)
        sources: list[Summand] = []
        arrays: dict[str, Array] = {}
        labels: dict[tuple[Chain, Shape], tuple[str, Any]] = {}
        for one in reader.terms(where):
            if isinstance(reader.graph.nodes[one.source], MaxNode):
                raise LoweringError(
                    "maximum-of",
                    "a maximum of currents is taken of another one",
                    where=where,
                    needed=one.source,
                    limit="a convolution in front",
                    hint="make the two pools one, or put a neuron between them",
                )
            pre = reader.shapes[one.source]
            if (one.chain, pre) not in labels:
                op, w = convolution(compose(self._nodes(one.chain), pre, taken), taken, where)
                w = op.scaled({"": w}, np.abs(factor), pre, taken, name)
                ended = {"": w, MINUS: -w, TURNED: turned(w, signs)}
                wanted = f"{name}<-{one.chain[-1] if one.chain else 'identity'}"
                label = self._label(wanted, one.chain, ended, {**self.weights, **arrays})
                arrays[label] = w
                labels[one.chain, pre] = label, replace(op, weight=label)
            sources.append(Summand(one.source, one.lag, *labels[one.chain, pre]))
        return Tournament(name, shape, pool, sources, signs, term.lag, first), arrays

    def _nodes(self, chain: Chain) -> list[tuple[str, nir.NIRNode]]:
        return [(node, self.reader.graph.nodes[node]) for node in chain]

    def _operator(self, term: Term, population: Population[FloatNeuron], gain: Array) -> tuple[str, Composed]:
        name = population.name
        chain = self._nodes(term.chain)
        if term.source in self.pools:
            chain = [(term.source, self.pools[term.source].remainder), *chain]
        pre, post = self._shape(term.source), population.shape
        operator = compose(chain, pre, post)
        scaled = operator.kind.scaled(operator.arrays, squeeze_channels(gain), pre, post, name)
        arrays = {**operator.arrays, "": scaled}
        wanted = f"{name}<-{term.chain[-1] if term.chain else 'identity'}"
        label = self._label(wanted, tuple(node for node, _ in chain), arrays, self.weights)
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
