"""Every shape of a NIR graph written out, as `nir.read` and other frameworks' readers want to find it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import torch

from snnhw.frontends.graph import LINEAR, flow, predecessors
from snnhw.frontends.simulate import linear, sum_of

Shape = tuple[int, ...]

_PER_NEURON = (
    "tau",
    "tau_mem",
    "tau_syn",
    "r",
    "w_in",
    "v_leak",
    "v_threshold",
    "v_reset",
    "scale",
    "delay",
    "threshold",
)


def shapes(graph: nir.NIRGraph) -> dict[str, tuple[Shape, Shape]]:
    """Node -> (shape of its input, shape of its output), told by running the linear nodes on zeros.

    Raises:
        SourceError: 'bad-shape' for a node that does not take its input.
    """
    before, order, way_back = predecessors(graph), flow(graph).order, flow(graph).feedback
    found: dict[str, tuple[Shape, Shape]] = {}
    waiting = list(order)
    for name in waiting:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            shape = tuple(int(n) for n in np.ravel(node.input_type["input"]))
            found[name] = (shape, shape)
            continue
        parts = [
            torch.zeros(1, *found[pre][1], dtype=torch.float64)
            for pre in before[name]
            if pre in found and (pre, name) not in way_back
        ]
        if not parts and len(waiting) < len(order) ** 2:  # a loop's way back through a Delay comes before what it reads
            waiting.append(name)
            continue
        x = sum_of(name, parts)
        y = linear(node, x, name) if isinstance(node, LINEAR) else x
        found[name] = (tuple(x.shape[1:]), tuple(y.shape[1:]))
    return found


def with_shapes(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same graph, numbers that stand for all neurons as arrays, and no input or output shape left open."""
    known = shapes(graph)
    nodes = {name: _whole(node, *known[name]) for name, node in graph.nodes.items()}
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata), type_check=False)


def is_whole(graph: nir.NIRGraph) -> bool:
    """Whether nothing is left open."""
    for node in graph.nodes.values():
        types = [*(node.input_type or {"": None}).values(), *(node.output_type or {"": None}).values()]
        pool = isinstance(node, (nir.AvgPool2d, nir.SumPool2d))
        if not pool and any(value is None for value in types):
            return False
        if any(np.ndim(getattr(node, key)) == 0 for key in _PER_NEURON if hasattr(node, key)):
            return False
    return True


def _whole(node: Any, before: Shape, after: Shape) -> nir.NIRNode:
    made = _made(node, before, after)
    made.metadata = dict(node.metadata)
    return made


def _made(node: Any, before: Shape, after: Shape) -> nir.NIRNode:
    match node:
        case nir.Input():
            return nir.Input({"input": np.array(after)})
        case nir.Output():
            return nir.Output({"output": np.array(before)})
        case nir.Flatten():
            dims = {"start_dim": int(node.start_dim), "end_dim": int(node.end_dim)}
            return nir.Flatten({"input": np.array(before)}, **dims)
        case nir.Conv1d() | nir.Conv2d():
            keys = ("weight", "stride", "padding", "dilation", "groups", "bias")
            parts = {key: getattr(node, key) for key in keys}
            size: Any = before[1] if isinstance(node, nir.Conv1d) else before[1:]
            return type(node)(input_shape=size, **parts)
    full = {key: np.array(np.broadcast_to(value, before)) for key, value in _per_neuron(node).items()}
    return type(node)(**full) if full else node


def _per_neuron(node: Any) -> Mapping[str, Any]:
    return {key: np.asarray(getattr(node, key), np.float64) for key in _PER_NEURON if hasattr(node, key)}
