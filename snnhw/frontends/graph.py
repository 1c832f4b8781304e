"""Reading a NIR graph: order, neighbours, and which nodes compute what."""

from __future__ import annotations

from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter

import nir
import numpy as np

from snnhw.errors import SourceError

NEURONS = (nir.IF, nir.LIF, nir.Threshold)
"""Nodes that spike; a Threshold has no memory: it is a gate."""

FILTERS = (nir.I, nir.LI)
"""Synaptic filters: each feeds one neuron, which has no other input, and becomes its current."""

LINEAR = (nir.Affine, nir.Linear, nir.Conv2d, nir.AvgPool2d, nir.SumPool2d, nir.Flatten, nir.Scale, nir.Delay)
"""Nodes without state between neurons; a Delay shifts in time."""


def predecessors(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """Node name -> names of the nodes whose outputs it sums, in a stable order."""
    found: dict[str, list[str]] = defaultdict(list)
    for pre, post in sorted(set(graph.edges)):
        found[post].append(pre)
    return {name: found.get(name, []) for name in graph.nodes}


def topological(graph: nir.NIRGraph) -> list[str]:
    """Node names so that each comes after what it reads; raises SourceError on a cycle."""
    before = predecessors(graph)
    names = sorted(before)
    sorter = TopologicalSorter({name: before[name] for name in names})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        raise SourceError(
            "recurrent",
            "recurrent connections are not supported yet",
            where=" -> ".join(error.args[1]),
            hint="remove the feedback edge",
        ) from None


def unknown_node(where: str, kind: str) -> SourceError:
    """The refusal of a node that we do not read."""
    return SourceError(
        "unknown-node",
        f"nodes of type {kind} are not supported",
        where=where,
        limit=", ".join(sorted(known.__name__ for known in (*NEURONS, *FILTERS, *LINEAR))),
        hint="replace the node by supported ones",
    )


def validate(graph: nir.NIRGraph) -> None:
    """What `nir.read` does not check: known nodes, finite parameters, positive time constants, one way in and out."""
    for name, node in sorted(graph.nodes.items()):
        if not isinstance(node, (*NEURONS, *FILTERS, *LINEAR, nir.Input, nir.Output)):
            raise unknown_node(name, type(node).__name__)
        _finite(name, node)
        if isinstance(node, (nir.LIF, nir.LI)) and (np.asarray(node.tau) <= 0).any():
            raise SourceError("bad-parameter", "a time constant is not positive", where=f"{name}.tau", limit="tau > 0")
        if isinstance(node, (nir.Affine, nir.Conv2d)) and np.shape(node.bias) != (len(node.weight),):
            raise SourceError(
                "bad-shape",
                "the bias has another length than the weight has rows",
                where=f"{name}.bias",
                needed=(len(node.weight),),
                limit=f"got {np.shape(node.bias)}",
            )
    for kind in (nir.Input, nir.Output):
        count = sum(isinstance(node, kind) for node in graph.nodes.values())
        if count != 1:
            raise SourceError(
                "inputs-outputs",
                f"the graph has {count} {kind.__name__} nodes",
                needed=count,
                limit="exactly one",
                hint="export one input and one output",
            )
    _edges(graph)
    _filters(graph)


def filter_of(graph: nir.NIRGraph, name: str) -> str | None:
    """The synaptic filter in front of a neuron node, if there is one."""
    before = predecessors(graph)[name]
    return before[0] if len(before) == 1 and isinstance(graph.nodes[before[0]], FILTERS) else None


def _filters(graph: nir.NIRGraph) -> None:
    before = predecessors(graph)
    readers = Counter(pre for names in before.values() for pre in names)
    for name, names in before.items():
        for pre in names:
            if not isinstance(graph.nodes[pre], FILTERS):
                continue
            if len(names) > 1 or readers[pre] > 1 or not isinstance(graph.nodes[name], NEURONS):
                raise SourceError(
                    "filter-place",
                    f"a node of type {type(graph.nodes[pre]).__name__} must feed one neuron and be its only input",
                    where=f"{pre} -> {name}",
                    limit=", ".join(kind.__name__ for kind in NEURONS),
                    hint="give every neuron its own filter, in front of all its inputs",
                )


def _finite(name: str, node: nir.NIRNode) -> None:
    for field in ("weight", "bias", "tau", "r", "v_leak", "v_reset", "v_threshold", "threshold", "scale", "delay"):
        value = getattr(node, field, None)
        if value is None:
            continue
        bad = int((~np.isfinite(np.asarray(value, np.float64))).sum())
        if bad:
            raise SourceError(
                "not-finite",
                f"{bad} values are NaN or infinite",
                where=f"{name}.{field}",
                needed="finite numbers",
                hint="retrain or repair the checkpoint",
            )


def _edges(graph: nir.NIRGraph) -> None:
    before = predecessors(graph)
    for edge, count in Counter(graph.edges).items():
        if count > 1:
            raise SourceError(
                "bad-edge",
                f"the edge {edge[0]} -> {edge[1]} is there {count} times, which NIR does not define",
                where=edge[1],
                hint="multiply by a Scale node",
            )
    for pre, post in graph.edges:
        for end in (pre, post):
            if end not in graph.nodes:
                raise SourceError("bad-edge", f"the edge {pre} -> {post} names a node that does not exist", where=end)
    for name, node in graph.nodes.items():
        if not before[name] and not isinstance(node, nir.Input):
            raise SourceError(
                "no-input",
                "the node has no incoming edge",
                where=name,
                hint="exporters of other frameworks lose residual edges: compile the module or checkpoint instead",
            )
    read = {pre for pre, _ in graph.edges}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Output) == (name in read):
            what = "the output node feeds another node" if name in read else "nothing reads the node's output"
            raise SourceError("no-output", what, where=name, hint="remove the node, or connect it")
