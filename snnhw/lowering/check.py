"""Numeric check of lowering: the same spikes from the NIR graph and the lowered network."""

from __future__ import annotations

from collections.abc import Mapping

from snnhw.encoding import real_inputs
from snnhw.evaluate import evaluate
from snnhw.frontends.check import Check, compared, run_graph
from snnhw.frontends.source import Source
from snnhw.network import Array, FloatNeuron, Kind, Network

COMPARED = (Kind.NEURON, Kind.GATE, Kind.ACCUMULATOR)


def check_lowering(
    source: Source, network: Network[FloatNeuron], x: Array, graph: Mapping[str, Array] | None = None
) -> Check:
    """The NIR graph against the lowered network.

    Args:
        graph: what `run_graph` gave for x, if it is known already.
    """
    known = run_graph(source, x) if graph is None else graph
    kinds = {p.name: p.kind for p in network.computed}
    shared = {name: values for name, values in known.items() if kinds.get(name) in COMPARED}
    return compared("NIR = lowered", shared, evaluate(network, real_inputs(network, x)))
