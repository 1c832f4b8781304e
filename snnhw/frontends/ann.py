"""ReLU networks as sources: an ONNX file or a torch module is converted to spikes, then imported like any module."""

from __future__ import annotations

import copy
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.frontends.checkpoint import import_module
from snnhw.frontends.live import operations
from snnhw.frontends.live.adapter import Call, Cell, Part, Shape, given, require_own_code
from snnhw.frontends.live.fold import Edges
from snnhw.frontends.live.load import Rules, read_stateless
from snnhw.frontends.live.output import Place, taken
from snnhw.frontends.live.reader import Reader, unknown_operation, where_of
from snnhw.frontends.live.recorder import Function
from snnhw.frontends.live.values import Sum
from snnhw.frontends.own import LinearNode, MaxNode
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.conversion import PERCENTILE, CappedReLU, ConvertedAnn, converted
from snnhw.zoo.wired import INPUT, Names, Wire, Wired

LAYERS = "Conv2d, Linear, BatchNorm, ReLU, ReLU6, AvgPool2d, AdaptiveAvgPool2d, Flatten, Dropout, Identity, +"
EXAMPLES = 8
"""Samples on which a network is read."""
TOLERANCE = 1e-9
MOST_SAMPLES = 1000
"""Samples that the thresholds are chosen from; of more, so many evenly spread ones are taken."""


def convert_source(
    source: str | Path | nn.Module,
    samples: Array,
    steps: int,
    reset: str = "subtract",
    percentile: float = PERCENTILE,
) -> Source:
    """The spiking network of a ReLU classifier, as a source.

    Args:
        source: an ``.onnx`` file, or a module on ``[N, ...]``, trained on values like ``samples`` (uint8: over 255).
        samples: ``[n, ...]`` training samples, uint8 or float; the thresholds come from them.
        steps: T of the deployed network.
        reset: ``subtract`` (needs a target with soft reset, loihi2) or ``zero``.
        percentile: see `snnhw.zoo.conversion.convert`.
    """
    samples = np.asarray(samples)
    if samples.ndim < 2 or not len(samples) or samples.dtype.kind not in "uif" or not np.isfinite(samples).all():
        raise SourceError(
            "needs-calibration",
            "converting a ReLU network needs training samples (n, ...) of finite numbers",
            where="samples",
            needed="finite numbers of shape (samples, ...)",
            limit=f"got {samples.dtype} of shape {samples.shape}",
            hint="give training samples with --calibrate DATA.npz",
        )
    module, origin = _module(source)
    pixels = samples.dtype == np.uint8
    chosen = samples[np.linspace(0, len(samples) - 1, min(len(samples), MOST_SAMPLES)).astype(int)]
    values = torch.tensor(chosen, dtype=torch.float64) / (255.0 if pixels else 1.0)
    network = convert(module, values, percentile=percentile, reset=reset)
    preprocessing = "uint8/255" if pixels else "none"
    deployment = Deployment(steps, "direct", tuple(samples.shape[1:]), "mean", preprocessing)
    imported = import_module(network, deployment)
    return replace(
        imported, origin={**origin, "conversion": {"reset": reset, "percentile": percentile}}, calibration=samples
    )


def convert(module: nn.Module, samples: Tensor, **options: Any) -> ConvertedAnn:
    """The spiking network ``[T, N, ...]`` of a trained ReLU network on ``[N, ...]``; the module is not changed.

    Args:
        samples: ``[n, ...]``, inputs like those of training, from which the scales come.
        options: of `snnhw.zoo.conversion.converted`.

    Raises:
        SnnhwError: a layer or operation that spikes cannot stand for, with its path; samples of another shape.
    """
    own = copy.deepcopy(module).double().eval()
    if isinstance(own, PerStep):
        own = nn.Sequential(OrderedDict(own.named_children()))
    values = samples.double()
    wires, place = read_ann(own, values[:EXAMPLES])
    with torch.no_grad():
        want, have = taken([own(values[:EXAMPLES].clone())], place), Wired(wires)(values[:EXAMPLES])
    if want.shape != have.shape or not torch.allclose(want, have, rtol=TOLERANCE, atol=TOLERANCE):
        raise SourceError(
            "not-equal",
            "the layers read from the ReLU network give another result than the network itself",
            where=type(module).__name__,
            hint="forward gives other values when it runs again: it counts, or computes outside of torch",
        )
    return converted(wires, samples, **options)


@dataclass
class Relu(nir.NIRNode):  # type: ignore[misc]
    """max(x, 0), or min(max(x, 0), top), until it becomes a neuron."""

    top: float = math.inf


class ReluAdapter:
    """nn.ReLU, the one layer of a ReLU network that is not linear."""

    name = "ReLU network"

    def claims(self, layer: nn.Module) -> bool:
        """ReLUs."""
        return isinstance(layer, nn.ReLU)

    def keeps_time(self, layer: nn.Module) -> bool:
        """There is none."""
        return False

    def call(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
        """One tensor to one."""
        return Call(given(layer, args, kwargs)[0], result, "")

    def cell(self, layer: nn.Module, shape: Shape, read: str, dt: float, where: str) -> Cell:
        """One node."""
        require_own_code(layer, "torch", self.name, where)
        return Cell({"": Part(Relu())})

    def reset(self, layer: nn.Module) -> None:
        """No state."""

    def threads(self, module: nn.Module) -> bool:
        """No state."""
        return False


def _relu(reader: Reader, event: Function) -> Sum:
    return reader.place(event, Relu(), reader.sum_of(event.args[0], where_of(event)))


def _capped(reader: Reader, event: Function) -> Sum:
    """Clamp, hardtanh and ReLU6: from 0 upwards."""
    low, high = (
        (0, 6) if event.name == "relu6" else (operations.given(event, 1, "min"), operations.given(event, 2, "max"))
    )
    if event.name.startswith("hardtanh"):
        low, high = operations.given(event, 1, "min_val", -1.0), operations.given(event, 2, "max_val", 1.0)
    top = math.inf if high is None else float(high)
    if low is None or float(low) != 0 or top <= 0:
        raise unknown_operation(event)
    return reader.place(event, Relu(top), reader.sum_of(event.args[0], where_of(event)))


def _unknown(_: Reader, event: Function) -> Any:
    raise unknown_operation(event)


RULES: Rules = {
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("relu6", "hardtanh", "hardtanh_", "clamp", "clamp_", "clip", "clip_"), _capped),
    **dict.fromkeys(("softmax", "log_softmax", "sigmoid", "sigmoid_", "argmax"), _unknown),  # the output's values count
    "pad": operations.own,
}
"""Of functions that mean something else, or nothing, in other modules."""


def read_ann(module: nn.Module, samples: Tensor) -> tuple[list[Wire], Place]:
    """The layers of a ReLU network in float64 and in order, without BatchNorm and Dropout, and the place of its output.

    Raises:
        SourceError: a layer, option or operation that spikes cannot stand for, with its path.
    """
    try:
        folded, place = read_stateless(module, samples, ReluAdapter(), RULES)
    except SourceError as error:
        if error.code not in ("unknown-operation", "not-spikes"):
            raise
        raise SourceError(
            "unknown-operation",
            "an operation cannot be converted to spikes",
            where=error.where,
            limit=LAYERS,
            hint=_hint(str(error.where)),
        ) from error
    names, wires, called = Names(), list[Wire](), {INPUT: INPUT}

    def total(edges: Edges) -> str:
        """The wire that holds the sum of what is read."""
        first, *rest = [called[pre] for (pre, _), count in edges.items() for _ in range(count)]
        for other in rest:
            wires.append(Wire(names.free("add"), None, (first, other)))
            first = wires[-1].name
        return first

    for name, node in folded.nodes.items():
        before = total(folded.edges[name])
        called[name] = names.free(name)
        wires.append(Wire(called[name], _layer(node.node, name), (before,)))
    total(folded.ends)
    return wires, place


def _layer(node: nir.NIRNode, where: str) -> nn.Module:
    """A node as the torch layer that the converted network is built of."""
    if isinstance(node, Relu):
        return nn.ReLU() if node.top == math.inf else CappedReLU(node.top)
    if isinstance(node, nir.AvgPool2d):
        kernel, stride, padding = (_pair(size) for size in (node.kernel_size, node.stride, node.padding))
        return nn.AvgPool2d(kernel, stride, padding)
    if isinstance(node, nir.Flatten) and (node.start_dim, node.end_dim) == (0, -1):
        return nn.Flatten()
    if isinstance(node, nir.Conv2d):
        inputs = node.weight.shape[1] * node.groups
        sizes = (inputs, len(node.weight), node.weight.shape[2:])
        layer: nn.Module = nn.Conv2d(*sizes, node.stride, node.padding, node.dilation, node.groups)
    elif isinstance(node, (nir.Affine, nir.Linear)):
        layer = nn.Linear(node.weight.shape[1], len(node.weight))
    else:
        pool = isinstance(node, MaxNode)
        kind = "MaxPool" if pool else type(node.op if isinstance(node, LinearNode) else node).__name__
        raise SourceError(
            "unknown-layer",
            f"layers of type {kind} cannot be converted to spikes",
            where=where,
            limit=LAYERS,
            hint=_hint("max_pool" if pool else where),
        )
    bias = np.asarray(getattr(node, "bias", 0.0))
    layer.weight = _weights(node.weight, where)
    layer.register_parameter("bias", _weights(bias, where) if bias.any() else None)
    return layer


def _pair(size: Array) -> tuple[int, int]:
    first, second = (int(n) for n in size)
    return first, second


def _weights(values: Array, where: str) -> nn.Parameter:
    if not np.isfinite(values).all():
        raise SourceError(
            "not-finite",
            "weights of the ReLU network are NaN or infinite",
            where=where,
            needed="finite numbers",
            hint="train it again",
        )
    return nn.Parameter(torch.tensor(values, dtype=torch.float64), requires_grad=False)


def _hint(where: str) -> str:
    if "max_pool" in where:
        return "train with average pooling: the maximum of rates is not a sum of spikes"
    if "softmax" in where or "argmax" in where:
        return "leave it out: it does not change which class is largest"
    return "replace it by one of these and train again"


def _module(source: str | Path | nn.Module) -> tuple[nn.Module, Mapping[str, Any]]:
    if isinstance(source, nn.Module):
        return source, {"module": type(source).__name__}
    from snnhw.frontends.onnx.ann import load_ann  # onnx is imported only where it is needed

    path = Path(source)
    module = load_ann(path)
    return module, {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
