"""Populations and projections: what a neuromorphic core sees, in floats or in integers.

A `Network` is immutable and says everything an engine needs; it never runs itself. `Network[FloatNeuron]` is what
lowering makes, `Network[IntNeuron]` is the same graph after quantisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from graphlib import TopologicalSorter
from math import prod
from typing import Any, Generic, TypeVar

import numpy as np

from snnhw.errors import LoweringError
from snnhw.neurons.base import Comparison as Comparison
from snnhw.neurons.base import IntLevel as IntLevel
from snnhw.neurons.base import Level as Level
from snnhw.neurons.base import Reset as Reset
from snnhw.neurons.base import ResetTiming as ResetTiming
from snnhw.neurons.cuba_lif import FloatNeuron as FloatNeuron
from snnhw.neurons.cuba_lif import IntNeuron as IntNeuron
from snnhw.operators import Conv as Conv
from snnhw.operators import Dense as Dense
from snnhw.operators import Diagonal as Diagonal
from snnhw.operators import Inject as Inject
from snnhw.operators import Operator
from snnhw.operators import Sparse as Sparse
from snnhw.operators.base import Array as Array
from snnhw.operators.base import Shape as Shape
from snnhw.operators.base import Weights, csr
from snnhw.rationale import Reason

Part = tuple[int, int, int]
LinearOp = Operator


class Kind(StrEnum):
    """What a population is for."""

    INPUT = "input"  # values given from outside, one array per sample step
    NEURON = "neuron"  # spiking
    ACCUMULATOR = "accumulator"  # never fires; its membrane is the result
    RELAY = "relay"  # hands on what arrives one step later: over long delays, or sums of spikes as graded spikes
    GATE = "gate"  # memoryless: logic of spikes (AND, IAND, OR, levels of a sum), constants that fire at every step


N = TypeVar("N", FloatNeuron, IntNeuron)


@dataclass(frozen=True)
class Population(Generic[N]):
    """A tensor of neurons with one neuron model.

    Args:
        shape: neurons, e.g. (C, H, W) or (n,).
        start: chip step at which the first sample step of the first sample is computed (inputs: 0).
        payload: smallest and largest value one event of this population can carry ((0, 1) for plain spikes).
        payload_scale: real value of one payload unit (1 for spikes, e.g. 1/255 for quantised pixels).
        part: of one of several inputs: where its values begin and end in a flat sample of so many.
    """

    name: str
    shape: Shape
    kind: Kind
    neuron: N | None = None
    start: int = 0
    payload: tuple[int, int] = (0, 1)
    payload_scale: float = 1.0
    part: Part | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def model(self) -> N:
        """The neuron model; inputs have none."""
        assert self.neuron is not None, f"{self.name} has no neuron model"
        return self.neuron


@dataclass(frozen=True)
class Projection:
    """Synapses from one population to another: one linear operator and one delay.

    Args:
        delay: chip steps from spike to arrival, at least 1 (every hop costs one step).
        lag: sample steps by which it arrives late (synaptic delay, feedback); what would arrive in the next sample is
            lost. A projection whose post population is not behind its pre population in the network's order is
            feedback: its lag is at least 1.
        weight_exp: the sum over synapses is scaled by 2**weight_exp (integers only).
    """

    name: str
    pre: str
    post: str
    op: Operator
    delay: int = 1
    weight_exp: int = 0
    lag: int = 0


@dataclass(frozen=True)
class Readout:
    """How a prediction is read from `population`.

    Ties go to the lowest class. `snnhw.readout` reads it.

    Args:
        kind: what a step shows: 'rate' (spikes), 'mean' (what a linear layer gave), 'membrane' (of an accumulator that
            leaks, or of a neuron after its reset); 'first': spikes, of which the earliest counts, T for silence.
        scale: of integers: what one unit of a score is in the source's units, division by the number of steps included.
        gain: by how much the source's output is larger than what the network's real scores are.
        offset: what the source's membranes are above the network's, at every step (both rest and reset elsewhere).
        over: how steps become one score: 'sum', 'mean', 'max'; '' is the mean of a linear layer, else the sum.
        window: the steps that count, as a slice.
        groups: classes, whose score is the sum over their group of outputs; 0: each output is one.
        interleaved: a class has every groups-th output, not neighbours.
    """

    kind: str
    population: str
    scale: float = 1.0
    over: str = ""
    window: tuple[int | None, int | None] = (None, None)
    groups: int = 0
    interleaved: bool = False
    gain: float = 1.0
    offset: float = 0.0

    @property
    def averages(self) -> bool:
        """Whether scores are means over the steps."""
        return self.over == "mean" or (not self.over and self.kind == "mean")


@dataclass(frozen=True)
class Notes:
    """What lowering knows of a network beside its structure.

    Args:
        ann_macs: what its layers cost as an ANN, counted before pools are composed away; None where nobody did.
        sums: the form of sums that was asked for.
        reasons: what was chosen for sums and pools.
    """

    ann_macs: int | None = None
    sums: str = "cheapest"
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Network(Generic[N]):
    """Populations in topological order, projections, and the weight arrays both kinds of sharing refer to.

    Args:
        layers: weight array -> names of the source's layers that it is composed of; see `names`.
        bits: weight array -> width of a stored weight, sign included (integers only); what projections share has one
            width. An array that is not named has the target's full width.
    """

    populations: tuple[Population[N], ...]
    projections: tuple[Projection, ...]
    weights: Mapping[str, Array]
    steps: int
    readout: Readout
    notes: Notes = Notes()
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Population[N]]:
        return {population.name: population for population in self.populations}

    def __getitem__(self, name: str) -> Population[N]:
        return self.by_name[name]

    @cached_property
    def _fan_in(self) -> dict[str, tuple[Projection, ...]]:
        return self._grouped("post")

    @cached_property
    def _fan_out(self) -> dict[str, tuple[Projection, ...]]:
        return self._grouped("pre")

    def _grouped(self, end: str) -> dict[str, tuple[Projection, ...]]:
        found: dict[str, list[Projection]] = {population.name: [] for population in self.populations}
        for projection in self.projections:
            found.setdefault(getattr(projection, end), []).append(projection)
        return {name: tuple(projections) for name, projections in found.items()}

    def into(self, name: str) -> tuple[Projection, ...]:
        """Projections that end at a population."""
        return self._fan_in[name]

    def out_of(self, name: str) -> tuple[Projection, ...]:
        """Projections that start at a population."""
        return self._fan_out[name]

    @property
    def inputs(self) -> tuple[Population[N], ...]:
        """Populations driven from outside."""
        return tuple(p for p in self.populations if p.kind is Kind.INPUT)

    @property
    def computed(self) -> tuple[Population[N], ...]:
        """Populations that the chip updates: all but the inputs."""
        return tuple(p for p in self.populations if p.kind is not Kind.INPUT)

    @property
    def depth(self) -> int:
        """Chip steps of pipeline fill before the last population starts."""
        return max((p.start for p in self.populations), default=0)

    @cached_property
    def components(self) -> tuple[tuple[str, ...], ...]:
        """Names in groups, each after the groups it reads: loops of populations together, all others alone.

        Without feedback these are the populations in the network's order.
        """
        place = {population.name: i for i, population in enumerate(self.populations)}
        if all(place[q.pre] < place[q.post] for q in self.projections):
            return tuple((name,) for name in place)
        from scipy.sparse.csgraph import connected_components

        ends = [place[q.pre] for q in self.projections], [place[q.post] for q in self.projections]
        readers = csr((np.ones(len(self.projections)), ends), (len(place), len(place)))
        _, label = connected_components(readers, connection="strong")
        group = {name: int(label[i]) for name, i in place.items()}
        before: dict[int, set[int]] = {group[name]: set() for name in place}
        for q in self.projections:
            if group[q.pre] != group[q.post]:
                before[group[q.post]].add(group[q.pre])
        members = {g: tuple(name for name in place if group[name] == g) for g in before}
        return tuple(members[g] for g in TopologicalSorter(before).static_order())

    def array(self, op: Operator) -> Array:
        """The weight array of an operator that has one."""
        return self.weights[op.weight]

    def between(self, projection: Projection) -> tuple[Weights, Shape, Shape]:
        """What a projection's operator asks for: the weight table, and the shapes of its populations."""
        return self.weights, self[projection.pre].shape, self[projection.post].shape

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the weight arrays that projections have, each once."""
        return tuple(dict.fromkeys(q.op.weight for q in self.projections if not q.op.injects))

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of the weight arrays that only neurons without input send through: constant currents, no synapses."""
        sent = {array: [q for q in self.projections if q.op.parts and q.op.weight == array] for array in self.stored}
        return frozenset(array for array, by in sent.items() if all(self._always(q.pre) for q in by))

    def bits_per_weight(self, most: int) -> float:
        """Mean width of the stored weights, without those of relays and constants; `most` where nothing says it."""
        into = {q.op.weight for q in self.projections if q.op.parts and self[q.post].kind is not Kind.RELAY}
        sizes = {array: self.weights[array].size for array in self.stored if array in into - self.constants}
        return sum(self.bits.get(array, most) * n for array, n in sizes.items()) / max(sum(sizes.values()), 1)

    def _always(self, name: str) -> bool:
        return self[name].kind is Kind.GATE and not self.into(name)

    def names(self, weight: str) -> tuple[str, ...]:
        """What `--weight-bits` knows a weight array by: its layers in the source, or, of none (identity shortcuts,
        relays, constants), its own name."""
        return self.layers.get(weight) or (weight,)


def verify(network: Network[Any], timed: bool = True) -> None:
    """Structural rules that hold between all stages; raises LoweringError naming the rule and the place.

    Args:
        timed: start steps and delays are there (a network that only runs in float has none).
    """
    seen: set[str] = set()
    for population in network.populations:
        if population.name in seen:
            _broken("population names are unique", population.name)
        seen.add(population.name)
        if (population.neuron is None) != (population.kind is Kind.INPUT):
            _broken("inputs have no neuron model, all others have one", population.name)
    place = {population.name: i for i, population in enumerate(network.populations)}
    for projection in network.projections:
        if projection.pre not in seen or projection.post not in seen:
            _broken("projections join populations of the network", projection.name)
        if projection.lag < 1 and place[projection.pre] >= place[projection.post]:
            _broken("feedback has a lag of at least one sample step", projection.name)
        pre, post = network[projection.pre], network[projection.post]
        if timed and projection.delay < 1:
            _broken("every hop costs at least one step", projection.name)
        if projection.lag < 0 or (timed and pre.start + projection.delay - projection.lag != post.start):
            _broken("a projection's delay is the difference of the start steps and its lag", projection.name)
        if projection.op.parts and projection.op.weight not in network.weights:
            _broken("every operator's weights exist", projection.name)
        if not projection.op.fits(*network.between(projection)):
            _broken("an operator's weights fit its populations", projection.name)
    for population in network.computed:
        if not network.into(population.name) and population.kind is not Kind.GATE:
            _broken("every computed population but a constant has an input", population.name)
    if network.readout.population not in seen:
        _broken("the readout names a population", network.readout.population)


def width(weights: Array, free: int = 64) -> int:
    """Bits of the narrowest signed weights, times a power of two common to all, that hold these integers; at least 2.

    Args:
        free: largest exponent of that power.
    """
    found = np.asarray(weights, np.int64).ravel()
    common = int(np.gcd.reduce(found, initial=0))
    zeros = (common & -common).bit_length() - 1 if common else 0
    least, most = (int(end(found, initial=0)) >> min(zeros, free) for end in (np.min, np.max))
    return max(2, (-least - 1).bit_length() + 1, most.bit_length() + 1)


def _broken(rule: str, where: str) -> None:
    raise LoweringError("invalid-network", f"a rule of the network does not hold: {rule}", where=where)
