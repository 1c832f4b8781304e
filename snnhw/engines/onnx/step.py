"""One sample step of a whole network as an ONNX model: values and state in, spikes and state out.

Layer by layer within one call, as the fast engine: delays that only align layers vanish, synaptic delays and feedback
read spikes of earlier calls, which travel in `past/NAME`. The names of values are those of a recorded run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import numpy as np

from snnhw import fixed
from snnhw.encoding import InputSpec
from snnhw.engines.onnx.graph import Dim, Graph, Value
from snnhw.engines.onnx.host import host_layer
from snnhw.engines.onnx.synapses import exact_type, magnitude, product
from snnhw.engines.onnx.trace import Traced
from snnhw.errors import EngineError
from snnhw.network import (
    Array,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
)

OPSET = 13
"""The first with ReduceSum over given axes; onnxruntime 1.8 and newer, int64 everywhere it is used here."""

IR_VERSION = 7
FORMAT = 1
METADATA_KEY = "snnhw"
BATCH = "batch"
MOST_BYTES = (1 << 31) - (1 << 20)
"""protobuf holds 2 GiB."""


def step_model(
    network: Network[IntNeuron],
    specs: Sequence[InputSpec] = (),
    metadata: Mapping[str, Any] | None = None,
    *,
    widths: fixed.Widths,
    endless: bool = False,
) -> Any:
    """The ModelProto; what it takes and gives is in its metadata, key `snnhw` (docs/onnx.md).

    Args:
        specs: of inputs whose values the graph is to compute from samples in units of their scale (a host's layer).
        metadata: what else to say there.
        widths: formats of states and decays.
        endless: samples may take more than the network's steps, so that lags beyond these are heard.

    Raises:
        EngineError: the weights are more than a protobuf file can hold.
    """
    _require_small(sum(array.size for array in network.weights.values()))  # at least a byte each
    builder = _Builder(
        network if not endless else replace(network, steps=1 << 62),
        {spec.population: spec for spec in specs if spec.host is not None},
        widths,
    )
    for population in network.populations:
        builder.visit(population)
    builder.hand_over()
    _require_small(builder.graph.held)
    readout = network.readout
    said = {
        "format": FORMAT,
        "steps": network.steps,
        "inputs": [_input(p, builder.hosted.get(p.name)) for p in network.inputs],
        "state": builder.state,
        "populations": [{"name": p.name, "kind": p.kind.value, "shape": p.shape} for p in network.computed],
        "readout": asdict(readout),
        **(metadata or {}),
    }
    return builder.graph.model(OPSET, IR_VERSION, "snnhw_step", {METADATA_KEY: json.dumps(said)})


def counter(state: str) -> str:
    """What the number of overflows of a state is called."""
    return {"u": "wraps", "v": "clips"}.get(state, f"overflows-{state}")


def initial_state(entry: dict[str, Any], samples: int) -> Array:
    """A state as a sample starts, (samples, *shape), from its row in the metadata."""
    return np.broadcast_to(np.asarray(entry["initial"], np.int64), (samples, *entry["shape"]))


def _input(p: Population[IntNeuron], spec: InputSpec | None) -> dict[str, Any]:
    """What a caller gives: the population's values, or the samples a host's layer makes them of."""
    low, high, scale, shape = (*p.payload, p.payload_scale, p.shape)
    if spec is not None:
        low, high, scale, shape = spec.low, spec.high, spec.scale, spec.shape
    return {"name": f"values/{p.name}", "shape": shape, "low": low, "high": high, "scale": scale}


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise EngineError(
            "too-big",
            "the network's weights are more than an ONNX file holds",
            needed=f"{size} bytes",
            limit=f"{MOST_BYTES} bytes",
            hint="use --engine fast",
        )


class _Builder:
    """The graph while populations are added in the network's order."""

    def __init__(self, network: Network[IntNeuron], hosted: Mapping[str, InputSpec], widths: fixed.Widths) -> None:
        self.network, self.hosted, self.widths = network, hosted, widths
        self.graph = Graph()
        self.state: list[dict[str, Any]] = []
        self.spikes: dict[str, Value] = {}
        self.pasts = {p.name: self._past(p) for p in network.populations}

    def _past(self, population: Population[IntNeuron]) -> tuple[Value, int]:
        """Spikes of earlier steps, newest first, as many as the latest reader needs; ("", 0) where none does."""
        lags = [q.lag for q in self.network.out_of(population.name) if q.lag < self.network.steps]
        depth = max([_is_late(population), *lags])
        if not depth:
            return "", 0
        return self._remember(f"past/{population.name}", (depth, *population.shape), 0), depth

    def _remember(self, name: str, shape: tuple[int, ...], initial: Any) -> Value:
        given = self.graph.input(f"{name}/before", np.int64, (BATCH, *shape))
        level = np.asarray(initial)
        self.state.append({"input": given, "output": name, "shape": list(shape), "initial": level.tolist()})
        return given

    def visit(self, population: Population[IntNeuron]) -> None:
        """One population, once all that it reads in this step is there."""
        name = population.name
        shape: tuple[Dim, ...] = (BATCH, *population.shape)
        self.graph.scope = name
        if population.kind is Kind.INPUT:
            self.spikes[name] = self._values(population)
            return
        neuron, fires = population.model, population.kind is not Kind.ACCUMULATOR
        before = [
            Traced(self.graph, partial(self._remember, f"{state}/{name}", population.shape, initial))
            for state, initial in neuron.initial.items()
        ]
        sent = Traced(self.graph, lambda: self._sent(name, 1)) if _is_late(population) else 0
        arriving = self._arriving(population) or self.graph.op("Mul", before[0].name, self.graph.int64(0))
        rule, parameters = neuron.rule(fires, self.widths), tuple(neuron.parameters.values())
        given = Traced(self.graph, lambda: arriving)
        (*now, spikes), overflowed = neuron.step((*before, sent), given, parameters, rule)
        if fires:
            self.spikes[name] = spikes.name
            self.graph.output(f"spikes/{name}", spikes.name, np.int64, shape)
        for state, value, truth in zip(neuron.STATES, now, overflowed, strict=True):
            self.graph.output(f"{state}/{name}", value.name, np.int64, shape)
            self._count(f"{counter(state)}/{name}", truth * 1, len(population.shape))

    def _values(self, population: Population[IntNeuron]) -> Value:
        spec = self.hosted.get(population.name)
        shape = population.shape if spec is None else spec.shape
        given = self.graph.input(f"values/{population.name}", np.int64, (BATCH, *shape))
        if spec is None or spec.host is None:
            return given
        return host_layer(self.graph, spec, spec.host, given)

    def _count(self, name: str, odd: Traced, axes: int) -> None:
        """How many neurons of each sample left their format."""
        g = self.graph
        total = g.op("ReduceSum", odd.name, g.int64(np.arange(1, 1 + axes)), keepdims=0) if axes else odd.name
        g.output(name, total, np.int64, (BATCH,))

    def _arriving(self, post: Population[IntNeuron]) -> Value | None:
        """a[t]; None where nothing ever arrives."""
        total: Value | None = None
        for members in self._groups(post):
            sent = [self._sent(q.pre, q.lag) for q in members]
            x = sent[0]
            for other in sent[1:]:
                x = self.graph.op("Add", x, other)
            part = self._product(members, x, post)
            total = part if total is None else self.graph.op("Add", total, part)
        return total

    def _groups(self, post: Population[IntNeuron]) -> Sequence[list[Projection]]:
        """Projections whose spikes are added first: same weights; not where each sum is floored by its shift."""
        found: dict[tuple[Any, ...], list[Projection]] = {}
        for q in self.network.into(post.name):
            silent = self.network[q.pre].kind is Kind.ACCUMULATOR
            if silent or q.lag >= self.network.steps:  # what arrives after the sample is lost
                continue
            alone = q.name if q.weight_exp < 0 else ""
            found.setdefault((q.op, q.weight_exp, self.network[q.pre].shape, alone), []).append(q)
        return list(found.values())

    def _product(self, members: list[Projection], x: Value, post: Population[IntNeuron]) -> Value:
        first, weights = members[0], self.network.weights
        payload = sum(max(abs(bound) for bound in self.network[q.pre].payload) for q in members)
        pre = self.network[first.pre].shape
        dtype = exact_type(magnitude(first.op, weights, payload, pre, post.shape), first.op)
        y = product(self.graph, first.op, weights, x, pre, post.shape, dtype)
        return cast(Value, fixed.shifted(Traced(self.graph, lambda: y), first.weight_exp).name)

    def _sent(self, name: str, lag: int) -> Value:
        """What a population sent `lag` steps ago."""
        if lag == 0:
            return self.spikes[name]
        past, _ = self.pasts[name]
        return self.graph.op("Gather", past, self.graph.int64(lag - 1), axis=1)

    def hand_over(self) -> None:
        """The spikes of this step become the newest past ones."""
        for name, (past, depth) in self.pasts.items():
            if not depth:
                continue
            g, shape = self.graph, self.network[name].shape
            g.scope = name
            newest = g.op("Unsqueeze", self.spikes[name], g.int64(np.array([1])))
            if depth > 1:
                ends = (g.int64(np.array([n])) for n in (0, depth - 1, 1))
                newest = g.op("Concat", newest, g.op("Slice", past, *ends), axis=1)
            g.output(f"past/{name}", newest, np.int64, (BATCH, depth, *shape))


def _is_late(population: Population[IntNeuron]) -> int:
    """1 where the reset is charged one step later, and the last spikes are thus part of the state."""
    if population.kind in (Kind.INPUT, Kind.ACCUMULATOR):
        return 0
    return int(population.model.late)
