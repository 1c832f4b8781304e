"""Average pools as sum pools and the other way round, for importers that know one of them.

avg(x) = sum(x) / k: the factor goes into the weights of the layers behind the pool, which must read nothing else.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnhw.frontends.graph import predecessors

_WEIGHTS = (nir.Affine, nir.Linear, nir.Conv2d)


def with_pools(graph: nir.NIRGraph, wanted: type[nir.NIRNode]) -> nir.NIRGraph:
    """The graph with every average or sum pool as `wanted`, where the layers behind it can hold the factor."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if not isinstance(node, (nir.AvgPool2d, nir.SumPool2d)) or isinstance(node, wanted):
            continue
        readers = _readers(graph, name)
        if readers is None:
            continue
        window = float(np.prod(np.broadcast_to(np.asarray(node.kernel_size), 2)))
        factor = 1.0 / window if wanted is nir.SumPool2d else window
        nodes[name] = wanted(node.kernel_size, node.stride, node.padding)
        for reader in readers:
            nodes[reader] = _scaled(nodes[reader], factor)
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata), type_check=False)


def _readers(graph: nir.NIRGraph, name: str) -> list[str] | None:
    """Layers with weights that read a pool, directly or through Flatten, and nothing else; None for others."""
    before, found = predecessors(graph), []
    rest = [post for pre, post in graph.edges if pre == name]
    while rest:
        reader = rest.pop()
        node = graph.nodes[reader]
        if len(before[reader]) != 1 or not isinstance(node, (nir.Flatten, *_WEIGHTS)):
            return None
        if isinstance(node, nir.Flatten):
            rest += [post for pre, post in graph.edges if pre == reader]
        else:
            found.append(reader)
    return found or None


def _scaled(node: Any, factor: float) -> nir.NIRNode:
    weight = np.asarray(node.weight, np.float64) * factor
    if isinstance(node, nir.Conv2d):
        keys = ("input_shape", "stride", "padding", "dilation", "groups", "bias")
        return nir.Conv2d(weight=weight, **{key: getattr(node, key) for key in keys})
    return nir.Linear(weight) if isinstance(node, nir.Linear) else nir.Affine(weight, node.bias)
