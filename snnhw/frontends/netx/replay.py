"""A `.net` file run by netx's own rules, layer after layer, from the file's arrays: what the import is checked against.

Rules: `lava/proc/lif/models.py` (AbstractPyLifModelFixed, restated here and not taken from `fixed.py`, so that the
check says something), Dense, DelayDense and Conv of Lava 0.10.0; the steps each hop costs are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from snnhw.frontends.netx.layers import Cuba, Layer
from snnhw.network import Array, Comparison

SUM = Cuba(0, 4096, 1 << 17)
"""netx's neuron for a layer without one: u adds up, v shows it, the threshold is out of reach."""

HALF = 1 << 23


def replay(layers: tuple[Layer, ...], comparison: Comparison, values: Array) -> Mapping[str, Array]:
    """Spikes of every layer with neurons, and v of one whose neurons never fire, by population.

    Args:
        values: bias mantissas of an input layer with neurons, or spikes (B, T, *shape).
    """
    found: dict[str, Array] = {}
    x = values.astype(np.int64)
    for layer in layers:
        if layer.kind == "flatten" or (layer.kind == "input" and layer.neuron is None):
            continue
        cuba = layer.neuron or SUM
        if layer.kind == "input":
            found[layer.name] = x = _lif(layer, cuba, np.zeros_like(x), x << 6, comparison)
        else:
            found[layer.name] = x = _lif(layer, cuba, _arriving(layer, x), _bias(layer), comparison)
    return found


def _lif(layer: Layer, cuba: Cuba, a: Array, bias: Array, comparison: Comparison) -> Array:
    """Spikes (B, T, *shape) of a layer for what arrives, or its v where it cannot fire."""
    u = v = np.zeros((len(a), *layer.shape), np.int64)
    s = np.zeros_like(u)
    never = cuba.vth >= (1 << 17) - 1
    out = np.zeros((*a.shape[:2], *layer.shape), np.int64)
    for t in range(a.shape[1]):
        total = a[:, t]
        if layer.recurrent is not None:
            total = total + (s.reshape(len(a), -1) @ layer.recurrent.T.astype(np.int64)).reshape(s.shape)
        u = _decayed(u, cuba.i_decay) + total * 64
        u = np.where(u > HALF, u - 2 * HALF, np.where(u <= -HALF, u + 2 * HALF, u))
        drive = bias[:, t] if bias.ndim == out.ndim else bias
        v = np.clip(_decayed(v, cuba.v_decay) + u + drive, 1 - HALF, HALF - 1)
        s = np.zeros_like(v) if never else (v > cuba.vth * 64) | ((v == cuba.vth * 64) & (comparison is Comparison.GE))
        v = np.where(s, 0, v)
        out[:, t] = v if never else s
        s = s.astype(np.int64)
    return out


def _decayed(x: Array, decay: int) -> Array:
    return np.asarray(np.sign(x) * ((np.abs(x) * (4096 - decay)) // 4096))


def _bias(layer: Layer) -> Array:
    """In membrane units, without axes for samples and steps."""
    bias = np.zeros(1, np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    if len(layer.shape) == 3 and bias.size == layer.shape[0]:
        bias = bias.reshape(-1, 1, 1)
    elif bias.size > 1:
        bias = bias.transpose(2, 1, 0) if bias.ndim == 3 else bias.reshape(layer.shape)
    return bias * 64


def _arriving(layer: Layer, x: Array) -> Array:
    """Synaptic sums (B, T, *shape)."""
    batch, steps = x.shape[:2]
    if layer.kind in ("conv", "pool"):
        return _windows(layer, x)
    if layer.kind == "average":
        return np.asarray(x.reshape(batch, steps, *layer.shape, -1).sum(axis=-1))
    assert layer.weight is not None
    flat = x.reshape(batch, steps, -1)
    out = np.zeros((batch, steps, layer.size), np.int64)
    delay = np.zeros(layer.weight.shape, np.int32) if layer.delay is None else layer.delay
    for late in np.unique(delay).tolist():
        if late < steps:
            part = np.where(delay == late, layer.weight, 0).astype(np.int64)
            out[:, late:] += flat[:, : steps - late] @ part.T
    return out.reshape(batch, steps, *layer.shape)


def _windows(layer: Layer, x: Array) -> Array:
    assert layer.weight is not None
    folded = torch.tensor(x.reshape(-1, *x.shape[2:]), dtype=torch.float64)
    if layer.kind == "pool":
        y = torch.nn.functional.avg_pool2d(folded, layer.kernel) * (layer.kernel[0] * layer.kernel[1])
        y = y * int(layer.weight.item())
    else:
        weight = torch.tensor(layer.weight, dtype=torch.float64)
        y = torch.nn.functional.conv2d(folded, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return np.asarray(np.rint(y.numpy()), np.int64).reshape(*x.shape[:2], *layer.shape)
