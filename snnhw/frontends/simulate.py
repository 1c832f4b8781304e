"""Runs a NIR graph in float64, layer by layer: the yardstick of the import check and of lowering.

Linear nodes are torch functions of (B, ...); several edges into a node sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnhw.errors import SourceError
from snnhw.evaluate import current, fire, late
from snnhw.frontends.graph import FILTERS, LINEAR, NEURONS, filter_of, predecessors, topological
from snnhw.network import Array, FloatNeuron, Reset
from snnhw.semantics import Semantics


def linear(node: nir.NIRNode, x: Tensor, where: str) -> Tensor:
    """One linear node (with its bias) on a batch (B, *input shape), float64."""
    try:
        return _linear(node, x)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise SourceError(
            "bad-shape", f"the node does not take its input: {error}", where=where, needed=tuple(x.shape[1:])
        ) from None


def _linear(node: Any, x: Tensor) -> Tensor:
    match node:
        case nir.Conv2d():
            return functional.conv2d(
                x,
                _tensor(node.weight),
                _tensor(node.bias),
                _pair(node.stride),
                _padding(node),
                _pair(node.dilation),
                int(node.groups),
            )
        case nir.Affine():
            return functional.linear(x, _tensor(node.weight), _tensor(node.bias))
        case nir.Linear():
            return functional.linear(x, _tensor(node.weight))
        case nir.AvgPool2d():
            return functional.avg_pool2d(x, _pair(node.kernel_size), _pair(node.stride), _pair(node.padding))
        case nir.SumPool2d():
            kernel = _pair(node.kernel_size)
            pooled = functional.avg_pool2d(x, kernel, _pair(node.stride), _pair(node.padding))
            return pooled * (kernel[0] * kernel[1])
        case nir.Flatten():
            return flatten(node, x)
        case nir.Scale():
            return x * _tensor(node.scale)
        case nir.Delay():
            return x  # the shift in time is taken where time is known
        case _:
            raise TypeError(type(node).__name__)


def flatten(node: nir.Flatten, x: Tensor) -> Tensor:
    """NIR counts dimensions without the batch."""
    dims = x.dim() - 1
    start, end = (int(d) + 1 if d >= 0 else int(d) + dims + 1 for d in (node.start_dim, node.end_dim))
    return x.flatten(start, end)


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray(value, np.float64))


def _pair(value: Any) -> tuple[int, int]:
    pair = np.asarray(value).ravel()
    return (int(pair[0]), int(pair[-1]))


def _padding(node: nir.Conv2d) -> Any:
    return node.padding if isinstance(node.padding, str) else _pair(node.padding)


def lag_of(where: str, node: nir.Delay, semantics: Semantics) -> int:
    """A Delay node in whole steps; raises SourceError for anything else."""
    steps = np.asarray(node.delay, np.float64) / semantics.dt
    whole = np.rint(steps)
    if steps.size == 0 or (whole != whole.ravel()[0]).any() or np.abs(steps - whole).max() > WHOLE or whole.min() < 0:
        raise SourceError(
            "bad-delay",
            "a delay is not one whole number of steps",
            where=where,
            needed=f"{steps.min():g} to {steps.max():g} steps" if steps.size else "nothing",
            limit=f"one multiple of dt = {semantics.dt:g} s, 0 or more, for all neurons",
            hint="one Delay node per delay, rounded to steps",
        )
    return int(whole.ravel()[0])


def filter_model(node: nir.I | nir.LI, semantics: Semantics) -> tuple[float, Array]:
    """Decay factor of a synaptic filter's current and the gain of its input: u[t] = keep * u[t-1] + gain * x[t]."""
    if isinstance(node, nir.I):
        return 1.0, squeeze(tidy(np.asarray(node.r) * semantics.dt))
    if np.asarray(node.v_leak).any():
        raise SourceError("bad-semantics", "a synaptic filter rests at a value other than 0", hint="v_leak = 0")
    ratio = semantics.dt / np.asarray(node.tau, np.float64)
    lam = tidy(ratio) if semantics.integrator == "euler" else 1 - np.exp(-ratio)
    return _one(decimal(1 - lam), "decay"), squeeze(tidy(np.asarray(node.r) * lam))


def gate_model(node: nir.Threshold) -> FloatNeuron:
    """A neuron without memory: fires while its input is above the threshold (strict, as NIR has it)."""
    return FloatNeuron(v_keep=0.0, threshold=squeeze(np.asarray(node.threshold)), bias=np.zeros(()))


def neuron_model(
    node: nir.NIRNode, semantics: Semantics, before: nir.NIRNode | None = None
) -> tuple[FloatNeuron, Array]:
    """The neuron of a node with the synaptic filter `before` it, and the gain of its input."""
    neuron, gain = (gate_model(node), np.ones(())) if isinstance(node, nir.Threshold) else _membrane(node, semantics)
    if before is None:
        return neuron, gain
    keep, current = filter_model(before, semantics)
    return replace(neuron, u_keep=keep), squeeze(gain * current)


def _membrane(node: nir.IF | nir.LIF, semantics: Semantics) -> tuple[FloatNeuron, Array]:
    """Discrete neuron and the gain of its input; the membrane is counted from v_reset, so that reset is to zero.

    v[t] = keep * v[t-1] + gain * x[t] + rest, with lam = dt / tau (Euler) or 1 - exp(-dt / tau); Pedersen et al. 2024
    (NIR), eqs. of IF and LIF. v_reset shifts out exactly: v, threshold and rest are taken relative to it.
    """
    rule = semantics
    threshold, v_reset = (np.asarray(value, np.float64) for value in (node.v_threshold, node.v_reset))
    if rule.reset is Reset.ZERO and v_reset.any():
        raise SourceError(
            "bad-semantics", "the reset is to zero, but the node's v_reset is not 0", hint="reset 'v_reset'"
        )
    offset: Array = np.zeros(()) if rule.reset is Reset.SUBTRACT else v_reset
    if isinstance(node, nir.IF):
        keep, gain, rest = np.asarray(1.0), tidy(np.asarray(node.r) * rule.dt), np.asarray(0.0)
    else:
        ratio = rule.dt / np.asarray(node.tau, np.float64)
        lam = tidy(ratio) if rule.integrator == "euler" else 1 - np.exp(-ratio)
        keep, gain, rest = decimal(1 - lam), tidy(np.asarray(node.r) * lam), tidy(lam * (node.v_leak - offset))
    start = _one(v_reset, "v_reset") if rule.v_init == "v_reset" else float(rule.v_init)
    v_init = start - _one(offset, "v_reset")
    return FloatNeuron(
        v_keep=_one(keep, "decay"),
        threshold=squeeze(threshold - offset),
        bias=squeeze(rest),
        comparison=rule.comparison,
        reset=Reset.SUBTRACT if rule.reset is Reset.SUBTRACT else Reset.ZERO,
        reset_timing=rule.reset_timing,
        v_min=None if rule.v_min is None else rule.v_min - _one(offset, "v_reset"),
        v_init=v_init,
        max_spikes=rule.max_spikes,
    ), squeeze(gain)


WHOLE = 1e-6
"""Steps that a delay may miss a whole number by: files hold it in seconds."""

ULPS = 8
"""Rounding errors that division by dt and multiplication with it again can leave, in units of the last place."""


def decimal(x: Array) -> Array:
    """Numbers up to 1 that are decimals of 13 digits but for rounding errors as those decimals (1 - 0.8 is 0.2)."""
    return _repaired(x, 1.0, lambda value: [float(f"{value:.13g}")])


def tidy(x: Array) -> Array:
    """The same for factors, and for those that are fractions (1e-4 / 3e-4 is 1/3); other numbers stay as they are."""
    return _repaired(x, 0.0, lambda value: [float(f"{value:.13g}"), float(Fraction(value).limit_denominator(1000))])


def _repaired(x: Array, size: float, candidates: Callable[[float], list[float]]) -> Array:
    values, where = np.unique(np.asarray(x, np.float64), return_inverse=True)
    slack = [ULPS * np.finfo(np.float64).eps * max(abs(value), size) for value in values]
    near = [
        next((c for c in candidates(value) if abs(c - value) <= most), value)
        for value, most in zip(values.tolist(), slack, strict=True)
    ]
    return np.array(near)[where].reshape(np.shape(x))


def squeeze(x: Array) -> Array:
    """An array that is one number everywhere, as that number."""
    x = np.asarray(x, np.float64)
    return np.asarray(x.ravel()[0]) if x.size and (x == x.ravel()[0]).all() else x


def _one(x: Array, what: str) -> float:
    one = squeeze(x)
    if one.ndim:
        raise SourceError(
            "per-neuron", f"per-neuron values of {what} are not supported yet", hint="use one value per layer"
        )
    return float(one)


def run(graph: nir.NIRGraph, semantics: Semantics, x: Array) -> dict[str, Array]:
    """What `walk` gives, by node name."""
    return dict(walk(graph, semantics, x))


def walk(graph: nir.NIRGraph, semantics: Semantics, x: Array) -> Iterator[tuple[str, Array]]:
    """Spikes of every neuron node and the values at the output, each (B, T, ...), in topological order.

    Values are held until their last reader has run.

    Args:
        x: real input, shape (B, T, *input shape).
    """
    before, order = predecessors(graph), topological(graph)
    last = {pre: name for name in order for pre in before[name]}
    values: dict[str, Tensor] = {}
    for name in order:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            values[name] = torch.from_numpy(np.array(x, np.float64)).flatten(0, 1)
            continue
        total = sum_of(name, [values[pre] for pre in before[name]])
        over_time = total.reshape(*x.shape[:2], *total.shape[1:])
        if isinstance(node, FILTERS):  # part of the neuron behind it
            values[name] = total
        elif isinstance(node, NEURONS):
            front = filter_of(graph, name)
            neuron, gain = neuron_model(node, semantics.at(name), graph.nodes[front] if front else None)
            spikes = fire(neuron, current(neuron, over_time.numpy() * gain) + neuron.bias)
            yield name, spikes
            values[name] = torch.from_numpy(spikes).flatten(0, 1)
        elif isinstance(node, nir.Delay):
            values[name] = torch.from_numpy(late(over_time.numpy(), lag_of(name, node, semantics))).flatten(0, 1)
        elif isinstance(node, LINEAR):
            values[name] = linear(node, total, name)
        else:
            yield name, over_time.numpy()
        for pre in before[name]:
            if last[pre] == name:
                del values[pre]


def sum_of(name: str, parts: list[Tensor]) -> Tensor:
    """Several edges into a node sum; raises SourceError when their shapes differ."""
    if len({tuple(part.shape[1:]) for part in parts}) > 1:
        shapes = ", ".join(str(tuple(part.shape[1:])) for part in parts)
        raise SourceError("bad-shape", f"the inputs of the node have different shapes: {shapes}", where=name)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
