"""Delay nodes with a delay per neuron: one node per delay, behind a Scale that lets its neurons through."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from snnhw.network import Array


def split_delays(graph: nir.NIRGraph, dt: float) -> nir.NIRGraph:
    """The graph in which every Delay node has one delay; a new object where there was something to split.

    Args:
        dt: seconds per step; delays of the same whole step are one (what is no whole step is refused where it is read).
    """
    found = {name: ways for name, node in graph.nodes.items() if len(ways := _ways(node, dt)) > 1}
    if not found:
        return graph
    nodes = {name: node for name, node in graph.nodes.items() if name not in found}
    entries, ends = dict[str, list[str]](), dict[str, list[str]]()
    inner = []
    for name, ways in found.items():
        for steps, mask in ways.items():
            entry, end = f"{name}.only{steps:g}", f"{name}.after{steps:g}"
            nodes[entry] = nir.Scale(mask)
            nodes[end] = nir.Delay(np.full(mask.shape, steps * dt))
            inner.append((entry, end))
            entries.setdefault(name, []).append(entry)
            ends.setdefault(name, []).append(end)
    edges = [(a, b) for pre, post in graph.edges for a in ends.get(pre, [pre]) for b in entries.get(post, [post])]
    return nir.NIRGraph(nodes, [*edges, *inner], metadata=dict(graph.metadata), type_check=False)


def _ways(node: Any, dt: float) -> dict[float, Array]:
    """Delay in steps -> 1 for its neurons, 0 for the others."""
    if not isinstance(node, nir.Delay):
        return {}
    steps = np.asarray(node.delay, np.float64) / dt
    near = np.rint(steps)
    steps = np.where(np.isclose(steps, near, rtol=0, atol=1e-6), near, steps)
    return {float(one): (steps == one).astype(np.float64) for one in np.unique(steps)}
