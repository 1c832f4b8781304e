"""NeuroBench's metrics, by its own names and definitions (Yik et al., Nature Communications 16, 2025; harness 2.3).

Of the float network they are counted on its layers as the source has them, before lowering composes any: what the
harness counts by its hooks. Of the integers they are counts of the mapped network by the same definitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from snnhw.artifact import Artifact
from snnhw.comparison.tree import Comparison
from snnhw.frontends.graph import MEMBRANES
from snnhw.frontends.own import NeuronNode
from snnhw.frontends.simulate import linear, walk
from snnhw.frontends.source import Source
from snnhw.network import Array, Kind

CONNECTIONS = (nir.Linear, nir.Affine, nir.Conv1d, nir.Conv2d)
"""Its connection layers; pools, scales and sums are none."""
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The same in torch."""
FLOAT32 = 4
"""Bytes of a parameter."""


def float_metrics(source: Source, module: nn.Module | None, batches: Iterable[Array]) -> dict[str, Any]:
    """What the harness gives for the float network.

    Args:
        module: the user's own torch module, if there is one: its parameters and buffers are the footprint, as they are.
            Without it those of the module that the source was read into are, at 4 bytes a real number however we hold
            it, else the parameters of the graph's nodes, which are fewer or more than a framework's.
        batches: real input (B, T, *input shape). A layer's operations at one step of a batch are accumulates where its
            inputs are all -1, 0 or 1, else multiply-accumulates, as the harness decides it.
    """
    counted = _Counted(source.graph)
    for x in batches:
        counted.samples += len(x)
        for _ in walk(source.graph, source.semantics, x, note=counted):
            pass
    return {**_static(source, module), **counted.metrics()}


def _static(source: Source, given: nn.Module | None) -> dict[str, Any]:
    graph, module = source.graph, source.module if given is None else given
    if module is not None:
        parameters = list(module.parameters())
        kept = module.state_dict().keys()  # a state that a run left behind is none of the model's memory
        held = [*parameters, *(buffer for name, buffer in module.named_buffers() if name in kept)]
        size = sum(t.numel() * (FLOAT32 if given is None and t.is_floating_point() else t.element_size()) for t in held)
        number = sum(tensor.numel() for tensor in parameters)
        weights = [m.weight.detach().numpy() for m in module.modules() if isinstance(m, LAYERS)]
    else:
        number = sum(np.size(value) for node in graph.nodes.values() for value in _parameters(node))
        size = FLOAT32 * number
        weights = [np.asarray(node.weight) for node in graph.nodes.values() if isinstance(node, CONNECTIONS)]
    return {"Footprint": size, "ParameterCount": number, "ConnectionSparsity": _zeros(weights)}


def _parameters(node: nir.NIRNode) -> list[Array]:
    """Real arrays of a node: weights, biases, time constants, thresholds; its shapes, strides and types are none."""
    values = [getattr(node, f.name) for f in fields(node)]
    return [v for v in values if isinstance(v, np.ndarray) and v.dtype.kind == "f"]


def _zeros(weights: Iterable[Array]) -> float:
    pairs = [(w.size - np.count_nonzero(w), w.size) for w in weights]
    zeros, size = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 1)
    return round(float(zeros / size), 4)


class _Counted:
    """Counts over batches; a `simulate.Note`."""

    def __init__(self, graph: nir.NIRGraph) -> None:
        self.graph = graph
        self.fans: dict[str, tuple[Array, float]] = {}
        self.samples = self.macs = self.acs = self.dense = self.zeros = self.outputs = self.updates = 0.0

    def __call__(self, name: str, inputs: Array, outputs: Array, membranes: Array | None) -> None:
        node = self.graph.nodes[name]
        if isinstance(node, CONNECTIONS):
            self._operations(name, node, inputs)
        elif isinstance(node, (*MEMBRANES, NeuronNode)):
            self.zeros += outputs.size - np.count_nonzero(outputs)
            self.outputs += outputs.size
        if membranes is not None and not isinstance(node, nir.Threshold):
            # Before a reset, as snnTorch's `mem` shows it, which the harness hooks.
            held = membranes.astype(np.float32)  # as frameworks hold them: what rounds to no change is none
            self.updates += held[:, 0].size + np.count_nonzero(held[:, 1:] != held[:, :-1])

    def _operations(self, name: str, node: Any, inputs: Array) -> None:
        if name not in self.fans:
            ones = replace(node, weight=np.ones_like(node.weight))
            self.fans[name] = _fan(replace(node, weight=node.weight != 0), inputs, name), _fan(ones, inputs, name).sum()
        fan, dense = self.fans[name]
        batch, steps = inputs.shape[:2]
        self.dense += batch * steps * dense
        operations = ((inputs != 0) * fan).reshape(batch, steps, -1).sum((0, 2))
        plain = np.isin(inputs, (-1, 0, 1)).reshape(batch, steps, -1).all((0, 2))
        self.acs += operations[plain].sum()
        self.macs += operations[~plain].sum()

    def metrics(self) -> dict[str, Any]:
        """Means per sample, and shares."""
        n = max(self.samples, 1)
        return {
            "ActivationSparsity": float(self.zeros / self.outputs) if self.outputs else 0.0,
            "MembraneUpdates": float(self.updates / n),
            "SynapticOperations": {
                "Effective_MACs": float(self.macs / n),
                "Effective_ACs": float(self.acs / n),
                "Dense": float(self.dense / n),
            },
        }


def _fan(node: Any, inputs: Array, name: str) -> Array:
    """How many weights of 1 each input reaches, borders included: the gradient of the sum of the outputs."""
    x = torch.zeros(1, *inputs.shape[2:], dtype=torch.float64, requires_grad=True)
    linear(node, x, name).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return np.asarray(x.grad[0].numpy())


def integer_metrics(artifact: Artifact, c: Comparison) -> dict[str, Any]:
    """Of the mapped integers, where the definition says something of them: weights at their stored widths, and
    operations on them. What is a graded event's operation is a multiply-accumulate. Membranes were not recorded."""
    network, names = artifact.network, {p.name for p in artifact.network.populations if p.kind is Kind.NEURON}
    most = artifact.target.numeric.weight_bits
    stored = [(network.weights[name], network.bits.get(name, most)) for name in network.stored]
    layers = [layer for layer in c.quantized.layers if layer.name in names]
    places = sum(layer.neurons * c.steps for layer in layers)
    return {
        "Footprint": sum(weights.size * bits for weights, bits in stored) / 8,
        "ConnectionSparsity": _zeros(weights for weights, _ in stored),
        "ActivationSparsity": 1 - sum(layer.spikes for layer in layers) / places if places else 0.0,
        "SynapticOperations": {
            "Effective_MACs": sum(q.synops_nonzero for q in c.projections if q.graded),
            "Effective_ACs": sum(q.synops_nonzero for q in c.projections if not q.graded),
        },
        **_accuracy(c.quantized.accuracy),
    }


def _accuracy(value: float | None) -> Mapping[str, float]:
    return {} if value is None else {"ClassificationAccuracy": value}


def report_metrics(artifact: Artifact, c: Comparison, floats: Mapping[str, Any]) -> dict[str, Any]:
    """The harness's results of the float network, and under `quantized` those of the integers."""
    said = {"samples": c.samples, "harness": "NeuroBench 2.3"}
    return {**floats, **_accuracy(c.float_.accuracy), "quantized": integer_metrics(artifact, c), **said}
