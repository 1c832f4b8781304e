"""One ONNX node to one torch layer: weights are copied, options checked, what torch would do otherwise is refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.network import Array

Options = dict[str, Any]
Constants = Sequence[Array | None]


def attributes(node: Any) -> Options:
    """A node's attributes as plain values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def refuse(where: str, what: str) -> SourceError:
    """The error for an operation that is not read."""
    hint = "replace it by one of these and train again"
    if "MaxPool" in what:
        hint = "train with average pooling: the maximum of rates is not a sum of spikes"
    if "Softmax" in what:
        hint = "export the network without it: it does not change which class is largest"
    limit = ", ".join(sorted({*LAYERS, "Add", "Sum", "Identity", "Dropout"}))
    return SourceError(
        "unknown-operation", f"the ONNX operation {what} is not read", where=where, limit=limit, hint=hint
    )


def _option(where: str, message: str, hint: str) -> SourceError:
    return SourceError("unsupported-option", message, where=where, hint=hint)


def _filled(layer: nn.Module, **values: Array | None) -> nn.Module:
    """The layer with these parameters and buffers, in float32."""
    state = {k: torch.tensor(np.asarray(v), dtype=torch.float32) for k, v in values.items() if v is not None}
    own = layer.state_dict()
    for key, value in state.items():
        own[key] = value.reshape(own[key].shape)
    layer.load_state_dict(own)
    return layer.requires_grad_(False)


def _pads(options: Options, where: str) -> tuple[int, int]:
    pads = list(options.get("pads", [0, 0, 0, 0]))
    if options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or len(pads) != 4 or pads[:2] != pads[2:]:
        raise _option(where, "padding of the ONNX node must be given, and the same on both sides", "pad evenly")
    return int(pads[0]), int(pads[1])


def _pair(options: Options, name: str) -> tuple[int, int]:
    first, second = options.get(name, (1, 1))
    return int(first), int(second)


MOST_VALUES = 1 << 26
"""Values of one trial tensor: more is taken for a damaged file."""

MOST_WORK = 1 << 36
"""Multiplications of one layer in the trial run."""


def _bounded(x: Tensor, channels: int, pads: tuple[int, int], taps: int, where: str) -> None:
    """Refuse what makes a small file huge, or endless, before torch starts on it.

    Args:
        channels: of the output.
        taps: multiplications for one output value.
    """
    if min(pads) < 0:
        raise _option(where, "padding of the ONNX node is negative", "pad by zero or more")
    padded = math.prod(n + 2 * p for n, p in zip(x.shape[2:], pads, strict=False))
    size = x.shape[0] * max(channels, x.shape[1]) * padded
    if size > MOST_VALUES or size * taps > MOST_WORK:
        raise SourceError(
            "too-big",
            "the ONNX node makes more values, or more work, than any network that is read here",
            where=where,
            needed=f"{size} values, {taps} multiplications each",
            limit=f"{MOST_VALUES} values, {MOST_WORK} multiplications",
            hint="check its pads and its input's shape",
        )


def conv(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """Conv with two spatial dimensions."""
    weight, bias = constants[0], constants[1] if len(constants) > 1 else None
    if weight is None or weight.ndim != 4:
        raise _option(where, "the ONNX convolution must have two spatial dimensions", "use Conv2d")
    group = int(options.get("group", 1))
    _bounded(x, weight.shape[0], _pads(options, where), math.prod(weight.shape[1:]), where)
    layer = nn.Conv2d(
        weight.shape[1] * group,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        _pair(options, "strides"),
        _pads(options, where),
        _pair(options, "dilations"),
        group,
        bias is not None,
    )
    return _filled(layer, weight=weight, bias=bias)


def gemm(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """alpha x B + beta C with constant B and C."""
    weight, bias = constants[0], constants[1] if len(constants) > 1 else None
    if weight is None or weight.ndim != 2 or options.get("transA", 0) or x.ndim != 2:
        raise _option(where, "the ONNX product must be of (batch, features) and a constant matrix", "use Linear")
    _bounded(x, max(weight.shape), (0, 0), min(weight.shape), where)
    matrix = (weight if options.get("transB", 0) else weight.T) * options.get("alpha", 1.0)
    if bias is not None:
        if bias.shape not in ((), (1,), (1, 1), (matrix.shape[0],), (1, matrix.shape[0])):
            raise _option(where, "the ONNX product adds something else than one number per output", "use Linear")
        bias = np.broadcast_to(bias.ravel() * options.get("beta", 1.0), matrix.shape[:1])
    return _filled(nn.Linear(matrix.shape[1], matrix.shape[0], bias is not None), weight=matrix, bias=bias)


def batch_norm(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """BatchNormalization with the statistics of training."""
    if options.get("training_mode", 0) or x.ndim not in (2, 4):
        raise _option(where, "the ONNX BatchNormalization is in training mode or of other shape", "export in eval mode")
    kind = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    names = ("weight", "bias", "running_mean", "running_var")
    layer = kind(x.shape[1], eps=float(options.get("epsilon", 1e-5)))
    return _filled(layer, **dict(zip(names, constants, strict=True)))


def average_pool(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """AveragePool: floor, no dilation, padding counted."""
    padding = _pads(options, where)
    odd = options.get("ceil_mode", 0) or set(options.get("dilations", [1])) != {1}
    if odd or (any(padding) and not options.get("count_include_pad", 0)) or x.ndim != 4:
        what = "ceil_mode, dilations and padding that does not count are not read in ONNX AveragePool"
        raise _option(where, what, "use AvgPool2d with its defaults")
    kernel = _pair(options, "kernel_shape")
    _bounded(x, x.shape[1], padding, math.prod(kernel), where)
    return nn.AvgPool2d(kernel, _pair(options, "strides"), padding)


def global_pool(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """GlobalAveragePool of images."""
    if x.ndim != 4:
        raise _option(where, "the ONNX global pool must be over two spatial dimensions", "use AdaptiveAvgPool2d(1)")
    return nn.AdaptiveAvgPool2d(1)


def reduce_mean(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """ReduceMean over height and width, which is a global pool."""
    given = constants[0] if constants else options.get("axes")
    axes = sorted(int(axis) % x.ndim for axis in np.ravel(given)) if given is not None else []
    if x.ndim != 4 or axes != [2, 3]:
        raise _option(where, "the ONNX mean must be over height and width", "use AdaptiveAvgPool2d(1)")
    pool = nn.AdaptiveAvgPool2d(1)
    return pool if options.get("keepdims", 1) else nn.Sequential(pool, nn.Flatten())


def relu(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """Relu."""
    return nn.ReLU()


def clip(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """Clip at 0 from below, which is Relu, and above it, as ReLU6."""
    bounds = [*constants, None, None][:2] if constants else [options.get("min"), options.get("max")]
    low, high = (None if bound is None else float(np.asarray(bound).ravel()[0]) for bound in bounds)
    if low != 0 or (high is not None and high <= 0):
        raise _option(where, "the ONNX Clip must be from 0 upwards", "use ReLU or ReLU6")
    return nn.ReLU() if high is None or high >= np.finfo(np.float32).max else nn.Hardtanh(0.0, high)


def squeeze(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """Squeeze of height and width of 1, which is a flattening."""
    given = constants[0] if constants and constants[0] is not None else options.get("axes")
    axes = range(1, x.ndim) if given is None else [int(axis) % x.ndim for axis in np.ravel(given)]
    if x.ndim != 4 or not set(axes) >= {2, 3} or 0 in axes or x.shape[2:] != (1, 1):
        raise _option(where, "the ONNX Squeeze must drop height and width of 1", "use Flatten()")
    return nn.Flatten()


def flatten(options: Options, constants: Constants, x: Tensor, where: str) -> nn.Module:
    """Flatten, or a Reshape that flattens all but the batch."""
    shape = constants[0] if constants else None
    if shape is None:
        right = options.get("axis", 1) in (1, 1 - x.ndim)
    else:
        sizes = [int(n) for n in shape]
        sizes = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(sizes)]
        right = len(sizes) == 2 and sizes[0] in (-1, x.shape[0]) and sizes[1] in (-1, x[0].numel())
        right = right and not (sizes == [-1, -1] or options.get("allowzero", 0))
    if not right:
        raise _option(where, "the ONNX reshape must flatten all but the batch", "use Flatten()")
    return nn.Flatten()


def plus_constant(layer: nn.Module | None, constant: Array, x: Tensor, where: str) -> nn.Module:
    """A convolution or linear layer with a constant added to what it gives (``x``): one number per channel."""
    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        raise refuse(where, "Add of a constant to something that has no bias")
    shape = (x.shape[1], *[1] * (x.ndim - 2))
    try:
        added = np.broadcast_to(constant[0] if constant.ndim == x.ndim and len(constant) == 1 else constant, shape)
    except ValueError:
        raise _option(where, "the ONNX Add of a constant must be one number per channel", "use a bias") from None
    changed = copy.deepcopy(layer)
    bias = torch.tensor(added.copy(), dtype=torch.float32).flatten()
    changed.bias = nn.Parameter(bias if layer.bias is None else layer.bias + bias, requires_grad=False)
    return changed


LAYERS: dict[str, Callable[[Options, Constants, Tensor, str], nn.Module]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": gemm,
    "BatchNormalization": batch_norm,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool,
    "ReduceMean": reduce_mean,
    "Relu": relu,
    "Clip": clip,
    "Squeeze": squeeze,
    "Flatten": flatten,
    "Reshape": flatten,
}
