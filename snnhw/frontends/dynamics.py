"""What a neuron, filter or delay of NIR does in one step, and decimals that files hold with rounding errors.

Semantics say how; `semantics.Semantics` has the equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.own import NeuronNode
from snnhw.network import Array, FloatNeuron, Level, Reset
from snnhw.semantics import CurrentOrder, Semantics


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


def filter_model(node: nir.I | nir.LI, semantics: Semantics) -> tuple[Level, Array]:
    """Decay factor of a synaptic filter's current and the gain of its input: u[t] = keep * u[t-1] + gain * x[t]."""
    if isinstance(node, nir.I):
        return 1.0, squeeze(tidy(np.asarray(node.r) * semantics.dt))
    if np.asarray(node.v_leak).any():
        raise SourceError("bad-semantics", "a synaptic filter rests at a value other than 0", hint="v_leak = 0")
    keep, lam = _leak(node.tau, semantics)
    return level(keep), squeeze(tidy(np.asarray(node.r) * lam))


def gate_model(node: nir.Threshold) -> FloatNeuron:
    """A neuron without memory: fires while its input is above the threshold (strict, as NIR has it)."""
    return FloatNeuron(v_keep=0.0, threshold=squeeze(np.asarray(node.threshold)), bias=np.zeros(()))


def neuron_model(
    node: nir.NIRNode, semantics: Semantics, before: nir.NIRNode | None = None
) -> tuple[FloatNeuron, Array]:
    """The neuron of a node with the synaptic filter `before` it, and the gain of its input."""
    if isinstance(node, NeuronNode):
        return node.neuron(semantics), np.ones(())
    neuron, gain = (gate_model(node), np.ones(())) if isinstance(node, nir.Threshold) else _membrane(node, semantics)
    if before is None:
        return neuron, gain
    keep, current = filter_model(before, semantics)
    return replace(neuron, u_keep=keep), squeeze(gain * current)


def readout_model(node: nir.I | nir.LI | nir.CubaLI, semantics: Semantics) -> tuple[FloatNeuron, Array]:
    """The membrane of a node that never fires, and the gain of its input."""
    keep, gain, lam, currents = _dynamics(node, semantics)
    v_leak = np.asarray(getattr(node, "v_leak", 0.0))
    v_init, rest = _start(semantics, np.zeros(()), v_leak), tidy(lam * v_leak)
    neuron = FloatNeuron(level(keep), np.zeros(()), squeeze(rest), u_keep=level(currents), v_init=level(v_init))
    return neuron, squeeze(gain)


def delays_input(node: nir.NIRNode, semantics: Semantics, before: nir.NIRNode | None = None) -> bool:
    """Whether the membrane sees the current of the step before (`current_order`), and so all input a step late."""
    currents = before is not None or isinstance(node, (nir.CubaLIF, nir.CubaLI))
    return currents and semantics.current_order is CurrentOrder.NEXT_STEP


def _leak(tau: Any, semantics: Semantics) -> tuple[Array, Array]:
    """(1 - lam, lam) with lam = dt / tau (Euler) or 1 - exp(-dt / tau)."""
    ratio = semantics.dt / np.asarray(tau, np.float64)
    lam = tidy(ratio) if semantics.integrator == "euler" else 1 - np.exp(-ratio)
    return decimal(1 - lam), lam


def _dynamics(node: Any, semantics: Semantics) -> tuple[Array, Array, Array, Array]:
    """(keep, gain, lam, u_keep) of v[t] = keep v[t-1] + u[t] + lam v_leak, u[t] = u_keep u[t-1] + gain x[t].

    Pedersen et al. 2024 (NIR), the equations of I, IF, LI, LIF, CubaLI and CubaLIF in one step of dt.
    """
    none = np.zeros(())
    with np.errstate(over="ignore"):  # `tidy` refuses what is not finite
        match node:
            case nir.I() | nir.IF():
                return np.ones(()), tidy(np.asarray(node.r) * semantics.dt), none, none
            case nir.LI() | nir.LIF():
                keep, lam = _leak(node.tau, semantics)
                return keep, tidy(np.asarray(node.r) * lam), lam, none
            case _:
                keep, lam = _leak(node.tau_mem, semantics)
                u_keep, lam_syn = _leak(node.tau_syn, semantics)
                gain = tidy(tidy(np.asarray(node.r) * lam) * tidy(np.asarray(node.w_in) * lam_syn))
                return keep, gain, lam, u_keep


def _membrane(node: nir.IF | nir.LIF | nir.CubaLIF, semantics: Semantics) -> tuple[FloatNeuron, Array]:
    """Discrete neuron and the gain of its input; the membrane is counted from v_reset, so that reset is to zero.

    v_reset shifts out exactly: v, threshold and rest are taken relative to it.
    """
    rule = semantics
    threshold, v_reset = (np.asarray(value, np.float64) for value in (node.v_threshold, node.v_reset))
    if rule.reset is Reset.ZERO and v_reset.any():
        raise SourceError(
            "bad-semantics", "the reset is to zero, but the node's v_reset is not 0", hint="reset 'v_reset'"
        )
    if rule.v_min is not None and (threshold < rule.v_min).any():
        raise SourceError(
            "bad-semantics",
            "the lower clip of the membrane is above a threshold",
            needed=f"v_min = {rule.v_min:g}",
            limit=f"threshold {threshold.min():g}",
            hint="such a neuron fires for ever: v_min is a floor",
        )
    offset: Array = np.zeros(()) if rule.reset is Reset.SUBTRACT else v_reset
    v_leak = np.asarray(getattr(node, "v_leak", 0.0))
    keep, gain, lam, u_keep = _dynamics(node, semantics)
    return FloatNeuron(
        v_keep=level(keep),
        u_keep=level(u_keep),
        threshold=squeeze(threshold - offset),
        bias=squeeze(tidy(lam * (v_leak - offset))),
        comparison=rule.threshold,
        reset=Reset.SUBTRACT if rule.reset is Reset.SUBTRACT else Reset.ZERO,
        reset_timing=rule.reset_timing,
        v_min=None if rule.v_min is None else level(rule.v_min - offset),
        v_init=level(_start(rule, v_reset, v_leak) - offset),
        max_spikes=rule.multispike,
    ), squeeze(gain)


def membrane_offset(node: nir.NIRNode, semantics: Semantics) -> Array:
    """What a spiking node's membrane is where its neuron model's is zero."""
    if semantics.reset is Reset.SUBTRACT or not isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF)):
        return np.zeros(())
    return np.asarray(node.v_reset, np.float64)


def _start(rule: Semantics, v_reset: Array, v_leak: Array) -> Array:
    """The membrane at the start of a sample."""
    named = {"v_reset": v_reset, "v_leak": v_leak}
    return np.asarray(named[rule.v_init] if isinstance(rule.v_init, str) else rule.v_init, np.float64)


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
    if not np.isfinite(values).all():
        raise SourceError(
            "bad-parameter",
            "dt and the parameters of a neuron give numbers that are not finite",
            needed=", ".join(f"{value:g}" for value in values[~np.isfinite(values)][:2]),
            limit="finite gains and decays",
            hint="check dt, tau, r and w_in",
        )
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


def level(x: Array) -> Level:
    """A parameter as one number where it is the same for all neurons."""
    one = squeeze(x)
    return one if one.ndim else float(one)
