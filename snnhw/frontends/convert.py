"""One torch layer to one NIR node; BatchNorm into the node before it. Weights become float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from snnhw.errors import SourceError
from snnhw.network import Array, Comparison, Reset
from snnhw.semantics import Semantics
from snnhw.zoo.neurons import Neuron

Shape = tuple[int, ...]


def _array(tensor: Tensor | None) -> Array:
    assert tensor is not None
    return tensor.detach().cpu().double().numpy()


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _refuse(where: str, what: str, hint: str) -> SourceError:
    return SourceError("unsupported-option", what, where=where, hint=hint)


def conv2d(layer: nn.Conv2d, before: Shape, where: str) -> nir.Conv2d:
    """torch.nn.Conv2d with zero padding."""
    if layer.padding_mode != "zeros":
        raise _refuse(where, f"padding mode {layer.padding_mode!r} is not supported", "use zero padding")
    padding = layer.padding
    if isinstance(padding, str):
        padding = (0, 0) if padding == "valid" else _same(layer, where)
    weight = _array(layer.weight)
    bias = _array(layer.bias) if layer.bias is not None else np.zeros(weight.shape[0])
    return nir.Conv2d(
        input_shape=(before[1], before[2]),
        weight=weight,
        stride=_pair(layer.stride),
        padding=_pair(padding),
        dilation=_pair(layer.dilation),
        groups=layer.groups,
        bias=bias,
    )


def conv1d(layer: nn.Conv1d, before: Shape, where: str) -> nir.Conv1d:
    """torch.nn.Conv1d with zero padding."""
    if layer.padding_mode != "zeros" or layer.padding == "same":
        what = f"padding mode {layer.padding_mode!r}, padding {layer.padding!r} of Conv1d is not supported"
        raise _refuse(where, what, "use zero padding, in numbers")
    weight = _array(layer.weight)
    stride, dilation = (int(np.ravel(value)[0]) for value in (layer.stride, layer.dilation))
    return nir.Conv1d(
        input_shape=before[1],
        weight=weight,
        stride=stride,
        padding=0 if layer.padding == "valid" else int(np.ravel(layer.padding)[0]),
        dilation=dilation,
        groups=layer.groups,
        bias=_array(layer.bias) if layer.bias is not None else np.zeros(len(weight)),
    )


def _same(layer: nn.Conv2d, where: str) -> tuple[int, int]:
    spans = [d * (k - 1) for d, k in zip(_pair(layer.dilation), _pair(layer.kernel_size), strict=True)]
    if any(span % 2 for span in spans):
        raise _refuse(where, "padding='same' with an even kernel is not symmetric", "give the padding as numbers")
    return spans[0] // 2, spans[1] // 2


def affine(layer: nn.Linear, before: Shape, where: str) -> nir.Affine | nir.Linear:
    """torch.nn.Linear; without bias it is NIR's Linear."""
    if len(before) != 1:
        raise _refuse(where, f"Linear over a tensor of shape {before} is not supported", "flatten before it")
    weight = _array(layer.weight)
    return nir.Affine(weight=weight, bias=_array(layer.bias)) if layer.bias is not None else nir.Linear(weight=weight)


def average_pool(layer: nn.AvgPool2d, before: Shape, where: str) -> nir.AvgPool2d:
    """torch.nn.AvgPool2d as NIR has it: floor, padding counted, divisor k * k."""
    padding = _pair(layer.padding)
    if layer.ceil_mode or layer.divisor_override or (any(padding) and not layer.count_include_pad):
        raise _refuse(
            where, "ceil_mode, divisor_override and count_include_pad=False are not in NIR", "use the defaults"
        )
    stride = _pair(layer.kernel_size if layer.stride is None else layer.stride)
    return nir.AvgPool2d(
        kernel_size=np.array(_pair(layer.kernel_size)), stride=np.array(stride), padding=np.array(padding)
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


def flatten(layer: nn.Flatten, before: Shape, where: str) -> nir.Flatten:
    """torch.nn.Flatten over everything but the batch."""
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise _refuse(where, "only Flatten(start_dim=1, end_dim=-1) is supported", "flatten all but the batch")
    return nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array(before)})


LINEAR_CONVERTERS: dict[type[nn.Module], Callable[..., nir.NIRNode]] = {
    nn.Conv1d: conv1d,
    nn.Conv2d: conv2d,
    nn.Linear: affine,
    nn.AvgPool2d: average_pool,
    nn.AdaptiveAvgPool2d: adaptive_pool,
    nn.Flatten: flatten,
}


def fold_batchnorm(node: nir.Conv2d | nir.Affine | nir.Linear, layer: Any, where: str) -> nir.Conv2d | nir.Affine:
    """W' = g W, b' = g (b - mean) + beta with g = gamma / sqrt(var + eps), running statistics (Ioffe, Szegedy 2015).

    A BatchNorm with an attribute `factor` (threshold-dependent, Zheng et al. 2021) has g = factor * gamma / sqrt(...).
    """
    if layer.running_mean is None or layer.running_var is None:
        raise _refuse(
            where, "BatchNorm without running statistics cannot be folded", "train with track_running_stats=True"
        )
    gamma = _array(layer.weight) if layer.affine else np.ones(layer.num_features)
    gamma = gamma * float(getattr(layer, "factor", 1.0))  # tdBN: alpha * Vth, where it is not in gamma already
    beta = _array(layer.bias) if layer.affine else np.zeros(layer.num_features)
    variance = _array(layer.running_var)
    if (variance + layer.eps <= 0).any():
        raise SourceError(
            "bad-parameter", "a running variance is negative", where=f"{where}.running_var", limit="var >= 0"
        )
    g = gamma / np.sqrt(variance + layer.eps)
    old_bias = node.bias if not isinstance(node, nir.Linear) else np.zeros(layer.num_features)
    bias = g * (old_bias - _array(layer.running_mean)) + beta
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


def neuron_node(layer: Neuron, shape: Shape, dt: float) -> nir.IF | nir.LIF:
    """A neuron of the zoo, parameters for every neuron: IF when nothing leaks, else LIF (tau = dt / (1 - decay))."""
    rest = layer.v_reset if layer.v_reset is not None else 0.0
    fixed = {"v_threshold": np.full(shape, layer.v_threshold), "v_reset": np.full(shape, rest)}
    if layer.decay == 1.0:
        return nir.IF(r=np.full(shape, layer.gain / dt), **fixed)
    leak = 1.0 - layer.decay
    return nir.LIF(
        tau=np.full(shape, dt / leak), r=np.full(shape, layer.gain / leak), v_leak=np.full(shape, rest), **fixed
    )


def node_semantics(layer: Neuron, default: Semantics) -> dict[str, Any]:
    """Fields in which a neuron differs from the network's default."""
    reset = Reset.SUBTRACT if layer.v_reset is None else Reset.ZERO if layer.v_reset == 0 else Reset.V_RESET
    own = {"threshold": Comparison(layer.comparison), "reset": reset}
    different: dict[str, Any] = {key: str(value) for key, value in own.items() if getattr(default, key) != value}
    return different if layer.v_init is None else {**different, "v_init": layer.v_init}
