"""Numeric check of lowering: the same spikes from the NIR graph and the lowered network."""

from __future__ import annotations

from snnhw.evaluate import evaluate
from snnhw.frontends.check import Check, compared
from snnhw.frontends.simulate import run as run_graph
from snnhw.frontends.source import Source
from snnhw.network import Array, FloatNeuron, Kind, Network


def check_lowering(source: Source, network: Network[FloatNeuron], x: Array) -> Check:
    """The NIR graph against the lowered network."""
    lowered = dict(evaluate(network, {p.name: x for p in network.inputs}))
    graph = run_graph(source.graph, source.semantics, x)
    kinds = {p.name: p.kind for p in network.computed}
    shared = {
        name: values for name, values in graph.items() if kinds.get(name) in (Kind.NEURON, Kind.GATE, Kind.ACCUMULATOR)
    }
    return compared("NIR = lowered", shared, lowered)
