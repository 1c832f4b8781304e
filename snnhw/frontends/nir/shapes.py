"""Every shape of a NIR graph written out, as `nir.read` and other frameworks' readers want to find it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import torch

from snnhw.errors import SourceError
from snnhw.frontends.graph import LINEAR, flow, predecessors
from snnhw.frontends.own import MaxNode
from snnhw.frontends.simulate import linear, sum_of
from snnhw.limits import require_sample, require_windows
from snnhw.network import FloatNeuron

Shape = tuple[int, ...]

_PER_NEURON = sorted({"scale", "delay"}.union(*FloatNeuron.NIR.values()))


def shapes(graph: nir.NIRGraph) -> dict[str, tuple[Shape, Shape]]:
    """Node -> (shape of its input, shape of its output), told by running the linear nodes on zeros.

    Raises:
        SourceError: 'bad-shape' for a node that does not take its input.
        SnnhwError: 'too-big' for one that would have more values than are held in memory.
    """
    before, order, way_back = predecessors(graph), flow(graph).order, flow(graph).feedback
    found: dict[str, tuple[Shape, Shape]] = {}
    waiting = list(order)
    for name in waiting:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            shape = tuple(int(n) for n in np.ravel(node.input_type["input"]))
            if min(shape, default=1) < 0:
                raise SourceError("bad-shape", "a size of an input is negative", where=name, needed=shape, limit=">= 0")
            require_sample(1, shape, name)
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
        _require_room(name, node, tuple(x.shape[1:]))
        y = linear(node, x, name) if isinstance(node, LINEAR) else x
        found[name] = (tuple(x.shape[1:]), tuple(y.shape[1:]))
    return found


def _require_room(name: str, node: Any, shape: Shape) -> None:
    """Refuse what memory does not hold before it is asked for; what does not fit together is `linear`'s to say."""
    match node:
        case nir.Conv1d() | nir.Conv2d() if len(shape) == np.ndim(node.weight) - 1:
            padding = 0 if isinstance(node.padding, str) else node.padding
            _require_windows(name, shape, node.weight.shape[2:], node.stride, padding, node.dilation)
        case nir.AvgPool2d() | nir.SumPool2d() if len(shape) == 3:
            _require_windows(name, shape, node.kernel_size, node.stride, node.padding, 1)
        case MaxNode(pool=pool) if len(shape) == len(pool.kernel) + 1:
            _require_windows(name, shape, pool.kernel, pool.stride, pool.padding, pool.dilation)
        case nir.Affine() | nir.Linear() if shape:
            require_sample(1, (*shape[:-1], len(node.weight)), name)


def _require_windows(name: str, shape: Shape, *window: Any) -> None:
    """Of kernel, stride, padding and dilation, each a number or one per axis."""
    axes = len(shape) - 1
    k, s, p, d = ([int(n) for n in np.broadcast_to(np.ravel(value), axes)] for value in window)
    if min(k + s + d) < 1 or min(p) < 0:
        return
    made = [max(0, (n + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1) for i, n in enumerate(shape[1:])]
    require_windows(shape, k, p, made, name)


def with_shapes(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same graph, numbers that stand for all neurons as arrays, and no input or output shape left open."""
    known = shapes(graph)
    nodes = {}
    for name, node in graph.nodes.items():
        try:
            nodes[name] = _whole(node, *known[name])
        except ValueError as error:  # parameters of another shape than what arrives
            what = f"the parameters of a {type(node).__name__} node do not fit together: {error}"
            raise SourceError("bad-shape", what, where=name) from None
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
