"""One torch layer to one NIR node; BatchNorm into the node before it. Weights become float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from torch import nn

from snnhw.errors import SourceError
from snnhw.operators.base import floats, pair
from snnhw.operators.candidate import Pool

Shape = tuple[int, ...]


def _refuse(where: str, what: str, hint: str) -> SourceError:
    return SourceError("unsupported-option", what, where=where, hint=hint)


def conv2d(layer: nn.Conv2d, before: Shape, where: str) -> nir.Conv2d:
    """torch.nn.Conv2d with zero padding."""
    if getattr(layer, "padding_mode", "zeros") != "zeros":  # the function has none
        raise _refuse(where, f"padding mode {layer.padding_mode!r} is not supported", "use zero padding")
    padding = layer.padding
    if isinstance(padding, str):
        padding = (0, 0) if padding == "valid" else _same(layer, where)
    weight = floats(layer.weight)
    bias = floats(layer.bias) if layer.bias is not None else np.zeros(weight.shape[0])
    return nir.Conv2d(
        input_shape=(before[1], before[2]),
        weight=weight,
        stride=pair(layer.stride),
        padding=pair(padding),
        dilation=pair(layer.dilation),
        groups=layer.groups,
        bias=bias,
    )


def conv1d(layer: nn.Conv1d, before: Shape, where: str) -> nir.Conv1d:
    """torch.nn.Conv1d with zero padding."""
    mode = getattr(layer, "padding_mode", "zeros")
    if mode != "zeros" or layer.padding == "same":
        what = f"padding mode {mode!r}, padding {layer.padding!r} of Conv1d is not supported"
        raise _refuse(where, what, "use zero padding, in numbers")
    weight = floats(layer.weight)
    stride, dilation = (int(np.ravel(value)[0]) for value in (layer.stride, layer.dilation))
    return nir.Conv1d(
        input_shape=before[1],
        weight=weight,
        stride=stride,
        padding=0 if layer.padding == "valid" else int(np.ravel(layer.padding)[0]),
        dilation=dilation,
        groups=layer.groups,
        bias=floats(layer.bias) if layer.bias is not None else np.zeros(len(weight)),
    )


def _same(layer: nn.Conv2d, where: str) -> tuple[int, int]:
    spans = [d * (k - 1) for d, k in zip(pair(layer.dilation), layer.weight.shape[2:], strict=True)]
    if any(span % 2 for span in spans):
        raise _refuse(where, "padding='same' with an even kernel is not symmetric", "give the padding as numbers")
    return spans[0] // 2, spans[1] // 2


def affine(layer: nn.Linear, before: Shape, where: str) -> nir.Affine | nir.Linear:
    """torch.nn.Linear; without bias it is NIR's Linear."""
    if len(before) != 1:
        raise _refuse(where, f"Linear over a tensor of shape {before} is not supported", "flatten before it")
    weight = floats(layer.weight)
    return nir.Affine(weight=weight, bias=floats(layer.bias)) if layer.bias is not None else nir.Linear(weight=weight)


def average_pool(layer: nn.AvgPool2d, before: Shape, where: str) -> nir.AvgPool2d:
    """torch.nn.AvgPool2d as NIR has it: floor, padding counted, divisor k * k."""
    padding = pair(layer.padding)
    if layer.ceil_mode or layer.divisor_override or (any(padding) and not layer.count_include_pad):
        raise _refuse(
            where, "ceil_mode, divisor_override and count_include_pad=False are not in NIR", "use the defaults"
        )
    stride = pair(layer.stride or layer.kernel_size)
    return nir.AvgPool2d(
        kernel_size=np.array(pair(layer.kernel_size)), stride=np.array(stride), padding=np.array(padding)
    )


def adaptive_pool(layer: nn.AdaptiveAvgPool2d, before: Shape, where: str) -> nir.AvgPool2d:
    """AdaptiveAvgPool2d where every window has the same size: AvgPool2d with kernel = stride = in / out."""
    size = layer.output_size
    wanted = (size, size) if isinstance(size, int) or size is None else tuple(size)
    out = tuple(have if want is None else int(want) for want, have in zip(wanted, before[1:], strict=True))
    if any(have % want for want, have in zip(out, before[1:], strict=True)):
        raise _refuse(
            where, f"{before[1:]} does not divide evenly into {out}", "choose an output size that divides the input"
        )
    kernel = np.array([have // want for want, have in zip(out, before[1:], strict=True)])
    return nir.AvgPool2d(kernel_size=kernel, stride=kernel, padding=np.array([0, 0]))


def average_pool1d(layer: nn.AvgPool1d, before: Shape, where: str) -> nir.Conv1d:
    """torch.nn.AvgPool1d, for which NIR has no node, as a convolution of each channel with 1 / k."""
    kernel, padding = (int(np.ravel(value)[0]) for value in (layer.kernel_size, layer.padding))
    stride = kernel if layer.stride is None or not np.size(layer.stride) else int(np.ravel(layer.stride)[0])
    if layer.ceil_mode or (padding and not layer.count_include_pad):
        raise _refuse(where, "ceil_mode and count_include_pad=False of AvgPool1d are not supported", "use the defaults")
    return _averaged(before, kernel, stride, padding)


def adaptive_pool1d(layer: nn.AdaptiveAvgPool1d, before: Shape, where: str) -> nir.Conv1d:
    """AdaptiveAvgPool1d where every window has the same size."""
    out = int(np.ravel(layer.output_size)[0])
    if before[1] % out:
        raise _refuse(where, f"{before[1]} does not divide evenly into {out}", "choose a size that divides the input")
    return _averaged(before, before[1] // out, before[1] // out, 0)


def _averaged(before: Shape, kernel: int, stride: int, padding: int) -> nir.Conv1d:
    channels = before[0]
    weight = np.full((channels, 1, kernel), 1.0 / kernel)
    return nir.Conv1d(before[1], weight, stride, padding, 1, channels, np.zeros(channels))


def max_windows(pool: Any, axes: int, where: str) -> Pool:
    """Windows of torch.nn.MaxPool1d (axes = 1) or MaxPool2d."""
    if pool.return_indices:
        raise _refuse(where, "return_indices of a max-pool is not supported", "leave it out")

    def sizes(value: Any) -> tuple[int, ...]:
        return tuple(int(n) for n in np.broadcast_to(np.ravel(value), axes))

    kernel = sizes(pool.kernel_size)
    stride = kernel if pool.stride is None or not np.size(pool.stride) else sizes(pool.stride)
    return Pool(kernel, stride, sizes(pool.padding), sizes(pool.dilation), bool(pool.ceil_mode))


def flatten(layer: nn.Flatten, before: Shape, where: str) -> nir.Flatten:
    """torch.nn.Flatten over everything but the batch."""
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise _refuse(where, "only Flatten(start_dim=1, end_dim=-1) is supported", "flatten all but the batch")
    return nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array(before)})


@dataclass(frozen=True)
class Layer:
    """One kind of linear torch layer, and the torch function that does the same, as a NIR node.

    Args:
        convert: (layer, shape before, its path) -> node; of a function's arguments it gets them by name, as of a layer.
        function: the function's name; '' for a layer that is none.
        arguments: of the function, behind its input: name -> default.
        batch: axes before the features that the function takes; None for any number.
    """

    convert: Callable[[Any, Shape, str], nir.NIRNode]
    function: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = 1


_CONV = {"weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_POOL = {
    "kernel_size": None,
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
LAYERS: dict[type[nn.Module], Layer] = {
    nn.Conv1d: Layer(conv1d, "conv1d", _CONV),
    nn.Conv2d: Layer(conv2d, "conv2d", _CONV),
    nn.Linear: Layer(affine, "linear", {"weight": None, "bias": None}, batch=None),
    nn.AvgPool2d: Layer(average_pool, "avg_pool2d", _POOL),
    nn.AvgPool1d: Layer(average_pool1d, "avg_pool1d", {k: v for k, v in _POOL.items() if k != "divisor_override"}),
    nn.AdaptiveAvgPool1d: Layer(adaptive_pool1d, "adaptive_avg_pool1d", {"output_size": None}),
    nn.AdaptiveAvgPool2d: Layer(adaptive_pool, "adaptive_avg_pool2d", {"output_size": None}),
    nn.Flatten: Layer(flatten),
}
"""Every linear layer that is read, as a layer or as the function that a forward calls: a new one is one entry."""


def converted(layer: nn.Module, before: Shape, where: str) -> nir.NIRNode:
    """A layer, or one that inherits its forward, as a NIR node; raises SourceError for what is none of `LAYERS`."""
    for kind, entry in LAYERS.items():
        if isinstance(layer, kind) and type(layer).forward is kind.forward:
            return entry.convert(layer, before, where)
    raise SourceError(
        "unknown-layer",
        f"layers of type {type(layer).__name__} are not supported",
        where=where,
        limit=", ".join(sorted(kind.__name__ for kind in LAYERS)),
        hint="replace the layer by supported ones",
    )


def fold_batchnorm(node: nir.Conv2d | nir.Affine | nir.Linear, layer: Any, where: str) -> nir.Conv2d | nir.Affine:
    """W' = g W, b' = g (b - mean) + beta with g = gamma / sqrt(var + eps), running statistics (Ioffe, Szegedy 2015).

    A BatchNorm with an attribute `factor` (threshold-dependent, Zheng et al. 2021) has g = factor * gamma / sqrt(...).
    """
    if layer.running_mean is None or layer.running_var is None:
        raise _refuse(
            where, "BatchNorm without running statistics cannot be folded", "train with track_running_stats=True"
        )
    gamma = floats(layer.weight) if layer.affine else np.ones(layer.num_features)
    gamma = gamma * float(getattr(layer, "factor", 1.0))  # tdBN: alpha * Vth, where it is not in gamma already
    beta = floats(layer.bias) if layer.affine else np.zeros(layer.num_features)
    variance = floats(layer.running_var)
    if (variance + layer.eps <= 0).any():
        raise SourceError(
            "bad-parameter", "a running variance is negative", where=f"{where}.running_var", limit="var >= 0"
        )
    g = gamma / np.sqrt(variance + layer.eps)
    old_bias = node.bias if not isinstance(node, nir.Linear) else np.zeros(layer.num_features)
    bias = g * (old_bias - floats(layer.running_mean)) + beta
    weight = node.weight * g.reshape(-1, *[1] * (node.weight.ndim - 1))
    if isinstance(node, nir.Conv2d):
        return nir.Conv2d(
            input_shape=node.input_shape,
            weight=weight,
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=node.groups,
            bias=bias,
        )
    return nir.Affine(weight=weight, bias=bias)
