"""NIR graphs with delays, filters and gates, without a module; run on both targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import nir
import numpy as np

from snnhw.engines.fast import FastEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.network import Array, Kind, Shape
from snnhw.semantics import Deployment, to_metadata
from tests.unit.frontends.graphs import semantics
from tests.unit.lowering.runs import TARGETS, Integers, made_for

DT = 1e-4
Nodes = dict[str, nir.NIRNode]
Edges = list[tuple[str, str]]


def delay(steps: float, size: int = 1) -> nir.Delay:
    return nir.Delay(np.full(size, steps * DT))


def integrator(size: int, threshold: float = 1.0) -> nir.IF:
    """v = v + x, fires above the threshold."""
    return nir.IF(r=np.full(size, 1 / DT), v_threshold=np.full(size, threshold), v_reset=np.zeros(size))


def chained(*names: str) -> Edges:
    return list(pairwise(names))


def source(
    nodes: Nodes, edges: Edges, inputs: int | Shape, outputs: int | Shape, steps: int, readout: str = "rate"
) -> Source:
    """A graph that takes spikes; input and output nodes are added."""
    before, after = ((shape,) if isinstance(shape, int) else shape for shape in (inputs, outputs))
    ends = {"input": nir.Input({"input": np.array(before)}), "output": nir.Output({"output": np.array(after)})}
    deployment = Deployment(steps, "spikes", before, readout)
    own = semantics()
    graph = nir.NIRGraph({**ends, **nodes}, edges, metadata=to_metadata(own, deployment), type_check=False)
    return Source(graph, own, deployment)


def bits(seed: int, *shape: int, rate: float = 0.4) -> Array:
    return (np.random.default_rng(seed).random(shape) < rate).astype(float)


def exact_on(made: Source, x: Array, targets: Iterable[str] = TARGETS) -> dict[str, Array]:
    """Spikes of every node after: graph = lowered (`made_for`), reference = fast, single samples = back to back, and
    integers = floats. Only for weights and thresholds that integers can say."""
    want = run(made.graph, made.semantics, x)
    for target in targets:
        integers = made_for(made, target, x)
        assert integers.differences() == [], target
        found = integers.run_fast()
        alone_equals_stream(integers)
        for population in integers.made.network.computed:
            if population.kind in (Kind.NEURON, Kind.GATE):
                spikes = found[f"spikes/{population.name}"]
                np.testing.assert_array_equal(spikes, want[population.name], err_msg=f"{target} {population.name}")
    return want


def alone_equals_stream(made: Integers) -> None:
    """Nothing of a sample reaches the next one."""
    stream = made.run(ReferenceEngine())
    assert stream.pop("saturations") == 0
    for i in range(len(made.x)):
        alone = replace(made, x=made.x[i : i + 1])
        for engine in (ReferenceEngine(), FastEngine()):
            for name, values in alone.run(engine).items():
                if name in stream:
                    np.testing.assert_array_equal(values[0], stream[name][i], err_msg=f"{name}, sample {i}")
