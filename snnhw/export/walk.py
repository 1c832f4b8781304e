"""The order in which nirtorch's legacy executor (Norse, sinabs, Rockpool) computes a graph: depth first, edge by edge.

It computes a node where it first meets it, whether or not all its inputs are there, and silently sums what is. So edges
are listed in an order that makes this right, and a graph for which there is none is not written for these importers.
"""

from __future__ import annotations

from collections import defaultdict

import nir

from snnhw.frontends.graph import Edge, flow

_SEPARATORS = str.maketrans({".": "_"})


def depth_first_edges(graph: nir.NIRGraph) -> list[Edge] | str:
    """Edges so listed that each node is met after its inputs, and the output last; or a node that cannot be.

    Loops come before what lies behind them: their way back carries values of the step before in any case.
    """
    found = flow(graph)
    place = {name: i for i, name in enumerate(found.order)}
    loop = {name: group for group in found.groups for name in group}
    after: dict[str, list[str]] = defaultdict(list)
    for pre, post in graph.edges:
        after[pre].append(post)
    for pre, posts in after.items():
        posts.sort(key=lambda post, pre=pre: (loop[post] != loop[pre], place[post]))  # type: ignore[misc]
    met: list[str] = []
    rest = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)][::-1]
    while rest:
        name = rest.pop()
        if name not in met:
            met.append(name)
            rest += [post for post in reversed(after[name]) if post not in met]
    order = {name: i for i, name in enumerate(met)}
    pairs: list[Edge] = sorted(graph.edges)
    for pre, post in pairs:
        if (pre, post) not in found.feedback and order[pre] > order[post]:
            return post
    ends: list[str] = sorted(pre for pre, post in graph.edges if post == met[-1])
    if not isinstance(graph.nodes[met[-1]], nir.Output) or ends != met[-2:-1]:
        return met[-1]
    return [(pre, post) for pre in met for post in after[pre]]


def same_names(graph: nir.NIRGraph) -> list[str]:
    """Names that become one where dots become underscores, as nirtorch has it."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in graph.nodes:
        found[name.translate(_SEPARATORS)].append(name)
    return next((names for names in found.values() if len(names) > 1), [])
