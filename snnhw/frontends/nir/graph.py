"""A NIR graph as exporters leave it, in the one form that the rest of snnhw reads.

No graphs inside of graphs, one Input and an Output at every end, padding in numbers, and an Input node that has the
shape of one sample, without the batch and time axes that some exporters leave there.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import NEURONS, READOUTS

Edge = tuple[str, str]
Shape = tuple[int, ...]

_THROUGH = (nir.Scale, nir.Delay, *NEURONS, *READOUTS)
"""Nodes that take an input of any shape and give the same."""


def tidy_graph(graph: nir.NIRGraph, *, exact: bool = False) -> nir.NIRGraph:
    """The graph in that form; a new object.

    Args:
        exact: shapes of Input nodes are those of samples (files of ours): nothing is taken off.

    Raises:
        SourceError: 'bad-name', 'bad-edge', 'sub-graph', 'inputs-outputs', 'bad-padding' or 'bad-shape', with the node.
    """
    flat = flattened(graph)
    nodes = {name: _plain_padding(name, node) for name, node in flat.nodes.items()}
    whole = with_ends(nir.NIRGraph(nodes, flat.edges, metadata=dict(flat.metadata), type_check=False))
    for name, node in whole.nodes.items():
        if isinstance(node, nir.Input) and (not exact or node.input_type["input"] is None):
            whole.nodes[name] = nir.Input({"input": np.array(sample_shape(whole, name))})
    return whole


def flattened(graph: nir.NIRGraph, where: str = "") -> nir.NIRGraph:
    """A graph without graphs and Identity nodes in it; the nodes of a sub-graph NAME become NAME.child."""
    _require_ends_of_edges(graph, where)
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = list(graph.edges)
    gone: list[str] = []
    for name, node in graph.nodes.items():
        if "/" in name:
            raise SourceError("bad-name", "NIR node names cannot hold '/'", where=where + name)
        if not isinstance(node, nir.NIRGraph):
            _add(nodes, name, node, where)
            gone += [name] if isinstance(node, nir.ir.graph.Identity) else []
            continue
        inner = flattened(node, f"{where}{name}.")
        ends = [_port(inner, kind, where + name) for kind in (nir.Input, nir.Output)]
        for child, held in inner.nodes.items():
            _add(nodes, f"{name}.{child}", held, where)
        entry, leave = (f"{name}.{end}" for end in ends)
        edges = [(leave if pre == name else pre, entry if post == name else post) for pre, post in edges]
        edges += [(f"{name}.{pre}", f"{name}.{post}") for pre, post in inner.edges]
        gone += [entry, leave]
    for name in gone:
        edges = dissolved(edges, name)
        del nodes[name]
    return nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)


def _require_ends_of_edges(graph: nir.NIRGraph, where: str) -> None:
    for pre, post in graph.edges:
        for end in (pre, post):
            if end not in graph.nodes:
                raise SourceError(
                    "bad-edge", f"the edge {pre} -> {post} names a node that does not exist", where=where + end
                )


def _add(nodes: dict[str, nir.NIRNode], name: str, node: nir.NIRNode, where: str) -> None:
    if name in nodes:
        raise SourceError(
            "bad-name",
            "two nodes have one name once sub-graphs are opened",
            where=where + name,
            hint="rename the sub-graph or the node",
        )
    nodes[name] = node


def _port(graph: nir.NIRGraph, kind: type[nir.NIRNode], where: str) -> str:
    names: list[str] = sorted(name for name, node in graph.nodes.items() if isinstance(node, kind))
    if len(names) != 1:
        raise SourceError(
            "sub-graph",
            f"a sub-graph has {len(names)} {kind.__name__} nodes: which one an edge means, NIR does not say",
            where=where,
            needed=", ".join(names) or "none",
            limit=f"one {kind.__name__} node",
            hint="open the sub-graph before it is exported",
        )
    return names[0]


def dissolved(edges: list[Edge], name: str) -> list[Edge]:
    """Edges without a node that hands on the sum of its inputs."""
    before = [pre for pre, post in edges if post == name]
    after = [post for pre, post in edges if pre == name]
    return [edge for edge in edges if name not in edge] + [(pre, post) for pre in before for post in after]


def with_ends(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Adds the Input or Output that is missing where only one node can be meant; names the nodes otherwise."""
    nodes, edges = dict(graph.nodes), list(graph.edges)
    kinds: tuple[tuple[Any, int, str], ...] = ((nir.Input, 1, "input"), (nir.Output, 0, "output"))
    for kind, end, name in kinds:
        if any(isinstance(node, kind) for node in nodes.values()):
            continue
        joined = {edge[end] for edge in edges}
        open_ends = sorted(n for n, node in nodes.items() if n not in joined and not isinstance(node, nir.Output))
        if len(open_ends) != 1 or name in nodes:
            raise SourceError(
                "inputs-outputs",
                f"the graph has 0 {kind.__name__} nodes",
                needed=f"{kind.__name__} at {', '.join(open_ends) or 'no node: all are joined'}",
                limit="one open end, where the node can be added" if kind is nir.Input else "at least one",
                hint="export one input and the outputs that are read",
            )
        nodes[name] = kind({name: None})
        edges.append((name, open_ends[0]) if kind is nir.Input else (open_ends[0], name))
    return nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)


def _plain_padding(name: str, node: Any) -> nir.NIRNode:
    """Convolutions with 'valid' or 'same' as numbers."""
    if not isinstance(node, (nir.Conv1d, nir.Conv2d)) or not isinstance(node.padding, str):
        return node
    kernel = np.asarray(node.weight.shape[2:])
    stride, dilation = (np.broadcast_to(np.asarray(value), kernel.shape) for value in (node.stride, node.dilation))
    if node.padding == "valid":
        return _with_padding(node, np.zeros_like(kernel))
    around = dilation * (kernel - 1)
    if (stride != 1).any() or (around % 2).any():
        raise SourceError(
            "bad-padding",
            "the padding 'same' is not the same on both sides, or has a stride",
            where=f"{name}.padding",
            needed=f"kernel {tuple(map(int, kernel))}, stride {tuple(map(int, stride))}",
            limit="an odd kernel and stride 1",
            hint="say the padding in numbers, or use an odd kernel",
        )
    return _with_padding(node, around // 2)


def _with_padding(node: Any, padding: Any) -> nir.NIRNode:
    sides: Any = int(padding[0]) if isinstance(node, nir.Conv1d) else tuple(map(int, padding))
    parts = {key: getattr(node, key) for key in ("input_shape", "weight", "stride", "dilation", "groups", "bias")}
    return type(node)(padding=sides, **parts)


def sample_shape(graph: nir.NIRGraph, name: str) -> Shape:
    """The shape of one sample at an Input: batch and time axes of exporters are taken off, a missing one is told."""
    node = graph.nodes[name]
    declared = None if node.input_type["input"] is None else tuple(int(n) for n in np.ravel(node.input_type["input"]))
    rank, told = _wanted(graph, name)
    if declared is None or not declared:
        if told is None:
            raise SourceError(
                "bad-shape",
                "the file does not say the shape of its input",
                where=name,
                hint="give the Input node a shape",
            )
        return told
    if min(declared) < 1:
        raise SourceError("bad-shape", "a shape has an axis without values", where=name, needed=declared, limit=">= 1")
    return declared if rank is None else declared[max(0, len(declared) - rank) :]


def _wanted(graph: nir.NIRGraph, name: str) -> tuple[int | None, Shape | None]:
    """(axes, shape) that the nodes behind an Input take, as far as they say it."""
    after: dict[str, list[str]] = defaultdict(list)
    for pre, post in sorted(graph.edges):
        after[pre].append(post)
    rest, seen, ranks = list(after[name]), {name}, list[int]()
    while rest:
        reader = rest.pop(0)
        if reader in seen:
            continue
        seen.add(reader)
        rank, shape = _takes(graph.nodes[reader])
        if shape is not None:
            return len(shape), shape
        ranks += [] if rank is None else [rank]
        if rank is None and isinstance(graph.nodes[reader], _THROUGH):
            rest += after[reader]
    return (ranks[0] if ranks else None), None


def _takes(node: Any) -> tuple[int | None, Shape | None]:
    match node:
        case nir.Affine() | nir.Linear():
            return 1, (int(node.weight.shape[-1]),)
        case nir.Conv1d():
            return 2, None
        case nir.Conv2d() | nir.AvgPool2d() | nir.SumPool2d():
            return 3, None
    if isinstance(node, _THROUGH):
        values = (getattr(node, f, None) for f in ("v_threshold", "threshold", "scale", "delay", "v_leak", "r"))
        shape = next(np.shape(value) for value in values if value is not None)
        if int(np.prod(shape)) > 1:
            return len(shape), None if 1 in shape else tuple(int(n) for n in shape)
    return None, None
