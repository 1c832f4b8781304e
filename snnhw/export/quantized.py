"""A quantised network as a NIR graph in reals: the integers of an artifact divided by their scales.

The scale of a spiking population is the power of two nearest to vth / threshold of the float network it stands for:
weights and thresholds then are whole numbers times a power of two, sums of them are exact even in float32, and a
network without leaks spikes in any framework as on the chip. A readout's scale is the one of its outputs. Decays are
1 - dv / 4096; what reals leave out is the chip's own rounding of a leaking membrane towards zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnhw.artifact import Artifact
from snnhw.errors import ArtifactError
from snnhw.frontends.graph import validate
from snnhw.frontends.nir.graph import dissolved
from snnhw.frontends.nir.shapes import with_shapes
from snnhw.frontends.source import Source
from snnhw.network import (
    Array,
    Comparison,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
)
from snnhw.neurons import REGISTRY
from snnhw.operators import Conv, Diagonal, Operator
from snnhw.readout import real_scale
from snnhw.semantics import PLAIN, Semantics, to_metadata

DT = 1e-4
"""Seconds a step: NIR wants a time, the chip has none."""

ONE = 4096
"""A decay of 1, in the units that decays are brought to here."""

BELOW = 0.5
"""`>=` of whole numbers is `>` of half a unit less."""


def quantized_source(artifact: Artifact) -> Source:
    """The artifact's network as a source with graph, Semantics and Deployment.

    Raises:
        ArtifactError: 'cannot-say', with the population or projection that NIR has no words for.
    """
    maker = _Maker(artifact)
    graph = maker.graph()
    semantics = Semantics(**PLAIN, dt=DT, nodes=maker.changes)
    graph.metadata = to_metadata(semantics, artifact.deployment)
    validate(graph)
    whole = with_shapes(graph)
    return Source(whole, semantics, artifact.deployment, {"file": "quantised network"})


class _Maker:
    def __init__(self, artifact: Artifact) -> None:
        self.artifact, self.network = artifact, _in_parts(artifact)
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.changes: dict[str, dict[str, Any]] = {}
        self.read: list[str] = []

    def graph(self) -> nir.NIRGraph:
        for spec in self.artifact.inputs:
            if spec.host is not None:
                raise _cannot(spec.population, "the host computes the first layer", "export the source, or for loihi2")
        for population in self.network.populations:
            if population.kind is Kind.INPUT:
                self.nodes[population.name] = nir.Input({"input": np.array(population.shape)})
            elif self.network.into(population.name):  # others are constants, part of their readers' biases
                self._population(population)
        readout = self.network[self.network.readout.population]
        end = self._name("output")
        self.nodes[end] = nir.Output({"output": np.array(readout.shape)})
        self.edges += [(name, end) for name in self.read or [readout.name]]
        self._without_ones()
        return nir.NIRGraph(self.nodes, self.edges, metadata={}, type_check=False)

    def _without_ones(self) -> None:
        """Scale nodes that change nothing go, where no edge would be there twice: few readers know them."""
        for name, node in list(self.nodes.items()):
            if not isinstance(node, nir.Scale) or (node.scale != 1).any():
                continue
            edges = dissolved(self.edges, name)
            if len(set(edges)) == len(edges):
                del self.nodes[name]
                self.edges = edges

    def _population(self, population: Population[IntNeuron]) -> None:
        neuron, name = population.model, population.name
        scale = self._scale(population)
        ends, rest = self._operators(population, scale)
        if population.kind is Kind.ACCUMULATOR:
            self._accumulator(population, ends, rest)
            return
        node = self._node(population, scale, rest)
        if _has_current(neuron) and population.kind is not Kind.RELAY:
            current = f"{name}.current"
            self.nodes[current] = _filter(neuron.du, population)
            self.edges += [(end, current) for end in ends]
            ends = [current]
        self.nodes[name] = node
        self.edges += [(end, name) for end in ends]

    def _accumulator(self, population: Population[IntNeuron], ends: list[str], rest: Array) -> None:
        """NIR's output shows what arrives, or the membrane of a leaky node; the sum over time is the reader's."""
        neuron, name = population.model, population.name
        if self.network.readout.kind != "membrane":
            if np.any(rest):
                raise _cannot(name, "a bias that no layer can carry", "export the source")
            self.read = ends
            return
        if np.any(rest):
            raise _cannot(name, "a bias that no layer can carry", "export the source")
        node: Any = _filter(neuron.dv, population)
        if _has_current(neuron):
            if not isinstance(node, nir.LI):
                raise _cannot(name, "a current in front of a membrane without a leak", "export the source")
            lam = np.broadcast_to(np.asarray(neuron.du, np.float64) / ONE, population.shape)
            node = nir.CubaLI(tau_mem=node.tau, tau_syn=DT / lam, r=node.r, v_leak=node.v_leak, w_in=1.0 / lam)
        self.nodes[name] = node
        self.edges += [(end, name) for end in ends]

    def _scale(self, population: Population[IntNeuron]) -> Array:
        """Membrane units per real unit, of a shape that broadcasts to the population's."""
        neuron = population.model
        if population.kind in (Kind.RELAY, Kind.GATE):
            return np.asarray(float(1 << neuron.act_shift))
        if population.kind is Kind.ACCUMULATOR:
            readout = self.network.readout
            if readout.population != population.name:
                raise _cannot(population.name, "an accumulator that is not the readout", "export the source")
            return np.asarray(real_scale(readout, self.network.steps) / readout.scale)
        threshold = np.asarray(self.artifact.reference[population.name].model.threshold, np.float64)
        vth = np.asarray(neuron.vth, np.float64)
        with np.errstate(over="ignore"):
            ratio = np.where(threshold > 0, vth / np.where(threshold > 0, threshold, 1.0), float(1 << neuron.act_shift))
        return np.asarray(2.0 ** np.rint(np.log2(np.clip(ratio, 1.0, 2.0**62))))

    def _operators(self, population: Population[IntNeuron], scale: Array) -> tuple[list[str], Array]:
        """Nodes that feed a population, its bias in one of them; and the bias that none can carry."""
        own = np.broadcast_to(np.asarray(population.model.bias, np.float64) / scale, population.shape)
        held, rest = (np.zeros_like(own), own) if _has_current(population.model) else (own, np.zeros_like(own))
        bias = held + self._constant(population, scale)
        ends: list[str] = []
        for first, pres in self._shared(population.name):
            for pre in pres:
                if self.network[pre].kind is Kind.ACCUMULATOR:
                    raise _cannot(population.name, "a membrane that is read", "export the source")
            name = self._name(f"{population.name}.in{len(ends)}" if ends else f"{population.name}.in")
            bias = self._operator(name, first, population, scale, bias)
            sources = [self._late(pre, first) for pre in pres]
            entry = self._flat(name, first) or name
            self.edges += [(pre, entry) for pre in sources]
            ends.append(name)
        return ends, bias + rest

    def _constant(self, population: Population[IntNeuron], scale: Array) -> Array:
        """What arrives at every step from populations that do nothing but fire."""
        total = np.zeros(population.shape)
        for q in self.network.into(population.name):
            pre = self.network[q.pre]
            if pre.kind is Kind.INPUT or self.network.into(pre.name):
                continue
            if q.lag:
                raise _cannot(q.name, "a constant current that begins late", "export the source")
            arrived = q.op.apply(self.network.weights, np.ones((1, *pre.shape)), population.shape)[0]
            total = total + arrived * self._factor(q, population, scale)
        return total

    def _shared(self, name: str) -> Iterator[tuple[Projection, list[str]]]:
        """Projections of one operator and one lag are a sum of spikes in front of one layer."""
        found: dict[Any, list[Projection]] = {}
        for q in self.network.into(name):
            if self.network[q.pre].kind is not Kind.INPUT and not self.network.into(q.pre):
                continue
            found.setdefault((q.op, q.lag, q.weight_exp, self.network[q.pre].shape), []).append(q)
        for group in found.values():
            scales = {self.network[q.pre].payload_scale for q in group}
            if len(scales) > 1:
                raise _cannot(group[0].name, "a sum of values in different units", "export the source")
            yield group[0], [q.pre for q in group]

    def _late(self, pre: str, q: Projection) -> str:
        """The node that hands on what a projection carries: a population, or its Delay; a self loop needs none."""
        if q.lag == 0 or (pre == q.post and q.lag == 1):
            return pre
        name = f"{pre}.late{q.lag}"
        if name not in self.nodes:
            self.nodes[name] = nir.Delay(np.full(self.network[pre].shape, q.lag * DT))
            self.edges.append((pre, name))
        return name

    def _flat(self, name: str, q: Projection) -> str | None:
        """A Flatten in front of a matrix that reads a tensor."""
        shape = self.network[q.pre].shape
        if type(q.op) in FORMS or len(shape) == 1:
            return None
        self.nodes[f"{name}.flat"] = nir.Flatten({"input": np.array(shape)}, start_dim=0, end_dim=-1)
        self.edges.append((f"{name}.flat", name))
        return f"{name}.flat"

    def _operator(
        self, name: str, q: Projection, population: Population[IntNeuron], scale: Array, bias: Array
    ) -> Array:
        """Adds one linear node; gives back the bias it does not carry."""
        factor = self._factor(q, population, scale)
        rows = np.broadcast_to(factor, population.shape)
        if type(q.op) in FORMS:
            self.nodes[name], left = FORMS[type(q.op)](self, q, rows, bias)
            return left
        if len(population.shape) != 1:
            raise _cannot(q.name, f"a matrix into a population of shape {population.shape}", "export the source")
        weight = q.op.full(*self.network.between(q)) * rows.reshape(-1, 1)
        self.nodes[name] = nir.Affine(weight, bias.ravel().copy()) if bias.any() else nir.Linear(weight)
        return np.zeros_like(bias)

    def conv(self, q: Projection, rows: Array, bias: Array) -> tuple[nir.NIRNode, Array]:
        """A convolution, or the pool that it is; it carries a bias that is even over each channel."""
        op: Any = q.op
        nothing = np.zeros_like(bias)
        channels, gain = bias.reshape(bias.shape[0], -1), rows.reshape(len(rows), -1)
        even = bool((channels == channels[:, :1]).all())
        if not (gain == gain[:, :1]).all():
            raise _cannot(q.name, "a scale for every neuron behind a convolution", "export the source")
        weight = self.network.array(op) * gain[:, 0].reshape(-1, 1, 1, 1)
        depthwise = op.groups == len(weight) == self.network[q.pre].shape[0]
        if depthwise and (weight == 1).all() and not bias.any() and op.dilation == (1, 1):
            return nir.SumPool2d(*map(np.array, (weight.shape[2:], op.stride, op.padding))), nothing
        held = channels[:, 0] if even else np.zeros(len(rows))
        options = {key: getattr(op, key) for key in ("stride", "padding", "dilation", "groups")}
        node = nir.Conv2d(input_shape=self.network[q.pre].shape[1:], weight=weight, bias=held, **options)
        return node, nothing if even else bias

    def scale(self, q: Projection, rows: Array, bias: Array) -> tuple[nir.NIRNode, Array]:
        """One to one; a Scale carries no bias."""
        return nir.Scale(np.array(np.broadcast_to(self.network.array(q.op), rows.shape) * rows)), bias

    def _factor(self, q: Projection, population: Population[IntNeuron], scale: Array) -> Array:
        """Reals per unit of a weight: payload unit, exponent, shift, scale."""
        if q.op.injects:
            raise _cannot(q.name, "values that the host injects", "export the source, or for loihi2")
        units = 2.0**q.weight_exp * (1 << population.model.act_shift) / self.network[q.pre].payload_scale
        return np.asarray(units / scale)

    def _node(self, population: Population[IntNeuron], scale: Array, rest: Array) -> nir.NIRNode:
        neuron, name = population.model, population.name
        full = population.shape
        if population.kind is Kind.RELAY:
            unit = np.asarray(neuron.vth, np.float64) / scale
            return nir.Scale(np.array(np.broadcast_to(1.0 / unit, full)))
        if not REGISTRY[neuron.MODEL].reals.NIR:
            raise _cannot(name, f"neurons of the model {neuron.MODEL}", "compile the source with --emit-nir")
        if population.kind is Kind.GATE:
            if np.any(neuron.dv != ONE):
                raise _cannot(name, "a gate with a memory", "export the source")
            unit = float(1 << neuron.act_shift) * BELOW / scale
            level = np.broadcast_to(neuron.vth / scale, full) - rest  # what arrives is compared: the bias goes over
            return nir.Threshold(level - unit if neuron.comparison is Comparison.GE else level)
        try:
            kind, parameters, self.changes[name] = neuron.to_node(full, scale, rest, DT, ONE)
        except ArtifactError as error:
            error.where = name
            raise
        return getattr(nir, kind)(**parameters)

    def _name(self, wished: str) -> str:
        taken = {p.name for p in self.network.populations} | set(self.nodes)
        return next(n for n in (wished, *(f"{wished}_{i}" for i in range(1, len(taken) + 2))) if n not in taken)


FORMS: dict[type[Operator], Callable[[_Maker, Projection, Array, Array], tuple[nir.NIRNode, Array]]] = {
    Conv: _Maker.conv,
    Diagonal: _Maker.scale,
}
"""Operators that NIR has words for over any shape: the node and the bias that it leaves; others become matrices."""


def _in_parts(artifact: Artifact) -> Network[IntNeuron]:
    """The network with decays in units of 1/ONE, whatever their bits."""
    unit = ONE / (1 << artifact.target.numeric.decay_bits)

    def of(p: Population[IntNeuron]) -> Population[IntNeuron]:
        scaled: Any = {} if p.neuron is None else {"du": p.neuron.du * unit, "dv": p.neuron.dv * unit}
        return replace(p, neuron=p.neuron and replace(p.neuron, **scaled))

    return replace(artifact.network, populations=tuple(map(of, artifact.network.populations)))


def _has_current(neuron: IntNeuron) -> bool:
    return not bool(np.all(np.asarray(neuron.du) == ONE))


def _filter(decay: Any, population: Population[IntNeuron]) -> nir.NIRNode:
    """u[t] = (1 - decay / 4096) u[t-1] + a[t]."""
    lam = np.broadcast_to(np.asarray(decay, np.float64) / ONE, population.shape)
    if not lam.any():
        return nir.I(r=np.full(population.shape, 1.0 / DT))
    if (lam == 0).any():
        raise _cannot(population.name, "states that last for ever beside others that do not", "export the source")
    return nir.LI(tau=DT / lam, r=1.0 / lam, v_leak=np.zeros(population.shape))


def _cannot(where: str, what: str, hint: str) -> ArtifactError:
    return ArtifactError("cannot-say", f"NIR has no words for {what}", where=where, hint=hint)
