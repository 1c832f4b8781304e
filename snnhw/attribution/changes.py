"""Changes of a source that give its parameters room: as a new source, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from snnhw.frontends.source import Source
from snnhw.network import Array

FAR = 8.0
"""A weight so many times the median of its row is an outlier; a layer's bias so many times its largest other one."""

NEAR = 3.0
"""What is clamped to where that far is still too far."""


@dataclass(frozen=True)
class Change:
    """A source with one change, and what was done to it."""

    source: Source
    said: str


def split_outliers(source: Source, layer: str) -> Iterator[Change]:
    """The large weights of a layer in one of their own beside it, whose sums are added: the same function."""
    node = source.graph.nodes.get(layer)
    if not isinstance(node, (nir.Affine, nir.Linear, nir.Conv2d)) or f"{layer}.large" in source.graph.nodes:
        return
    weight = np.asarray(node.weight, np.float64)
    large = outliers(weight)
    if not large.any() or large.all():
        return
    rest: Any = replace(node, weight=np.where(large, 0.0, weight))
    beside: Any = replace(node, weight=np.where(large, weight, 0.0))
    if isinstance(node, nir.Affine):
        beside = nir.Linear(beside.weight)
    elif isinstance(node, nir.Conv2d):
        beside = replace(beside, bias=np.zeros_like(node.bias))
    name = f"{layer}.large"
    nodes = {**source.graph.nodes, layer: rest, name: beside}
    edges = [*source.graph.edges]
    edges += [(pre, name) for pre, post in source.graph.edges if post == layer]
    edges += [(name, post) for pre, post in source.graph.edges if pre == layer]
    said = (
        f"move the {int(large.sum())} weights of {layer} beyond {FAR:g} times the median of their row into a layer of "
        "their own beside it, whose sums are added (the same function, with a scale of its own)"
    )
    yield Change(_changed(source, nodes, edges), said)


def clamp_bias(source: Source, layer: str) -> Iterator[Change]:
    """A layer's few huge biases no larger than so many times the others."""
    node = source.graph.nodes.get(layer)
    bias = getattr(node, "bias", None)
    if node is None or bias is None or np.size(bias) < 2:
        return
    sizes = np.sort(np.abs(np.asarray(bias, np.float64)).ravel())
    others = max(float(sizes[int(0.9 * (sizes.size - 1))]), float(np.median(np.abs(node.weight))))
    for most in (FAR * others, NEAR * others):
        if sizes[-1] <= FAR * others:
            return
        changed: Any = replace(node, bias=np.clip(bias, -most, most))
        count = int((np.abs(bias) > most).sum())
        said = f"clamp the {count} biases of {layer} beyond {most:.4g} to it"
        yield Change(_changed(source, {**source.graph.nodes, layer: changed}, [*source.graph.edges]), said)


def clamp_weights(source: Source, layer: str) -> Iterator[Change]:
    """A layer's large weights no larger than so many times the median of their row: another function."""
    node = source.graph.nodes.get(layer)
    if not isinstance(node, (nir.Affine, nir.Linear, nir.Conv2d)):
        return
    weight = np.asarray(node.weight, np.float64)
    large = outliers(weight)
    if not large.any():
        return
    most = (FAR * _medians(weight)).reshape(-1, *[1] * (weight.ndim - 1))
    changed: Any = replace(node, weight=np.where(large, np.clip(weight, -most, most), weight))
    said = f"clamp the {int(large.sum())} weights of {layer} beyond {FAR:g} times the median of their row to that"
    yield Change(_changed(source, {**source.graph.nodes, layer: changed}, [*source.graph.edges]), said)


def outliers(weight: Array) -> Array:
    """Which weights are far above the others of their row."""
    middle = _medians(weight).reshape(-1, *[1] * (weight.ndim - 1))
    return np.asarray((np.abs(weight) > FAR * middle) & (middle > 0))


def _medians(weight: Array) -> Array:
    """Median of the sizes in each row that are not 0; 0 of a row without any."""
    rows = np.abs(weight.reshape(len(weight), -1))
    return np.asarray([float(np.median(row[row > 0])) if row.any() else 0.0 for row in rows])


def _changed(source: Source, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> Source:
    """The source with another graph; the module that it came from runs the old one."""
    graph = nir.NIRGraph(nodes, edges, metadata=source.graph.metadata, type_check=False)
    return replace(source, graph=graph, module=None, replay=None)
