"""How each framework's exporter writes a neuron's numbers into NIR, and what the framework computes with them.

A rule reads one node into the dimensionless numbers of a step, `Step`: the membrane keeps 1 - leak of itself and takes
gain times its input, the synaptic current keeps 1 - syn_leak and takes syn_gain. Sources: the exporters of snnTorch
1.0.0, SpikingJelly 2.0.0, Norse 1.1.0, sinabs 3.1.3 and Rockpool 3.1.0, each verified by running (tests/frontends).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from snnhw.network import Array
from snnhw.semantics import PLAIN, UNLIMITED

CLOSE = 1e-4
"""Relative error of a relation between parameters: files hold float32."""


class MisfitError(Exception):
    """A node's numbers are not as the dialect writes them: (field, what the dialect writes)."""


@dataclass(frozen=True)
class Step:
    """One step of a neuron, in numbers without units; None where the node has no such state."""

    gain: Array
    leak: Array | None = None
    syn_leak: Array | None = None
    syn_gain: Array | None = None


Read = Callable[[Any, float], Step]
"""(node, dt) -> its step; raises MisfitError."""


@dataclass(frozen=True)
class Dialect:
    """One framework's way to write NIR.

    Args:
        dt: seconds per step as the exporter has it by default; None: the user must say it.
        tells_dt: node -> dt that its parameters imply, or None.
        rules: node type -> reading; other neuron types are not written by this exporter.
        fields: of Semantics.
        nodes: node type -> fields that differ there.
        single_way: the exporter traces calls of modules and loses every sum of branches: several inputs, or several
            edges into an output, are such losses.
        unsaid: what the exporter leaves out and the framework's default answers: (in words, the field of Semantics by
            which a user says otherwise, or "").
    """

    name: str
    dt: float | None
    tells_dt: Callable[[Any], Array | None]
    rules: Mapping[type[nir.NIRNode], Read]
    fields: Mapping[str, Any]
    nodes: Mapping[type[nir.NIRNode], Mapping[str, Any]] = field(default_factory=dict)
    single_way: bool = True
    unsaid: tuple[tuple[str, str], ...] = ()


def _f(value: Any) -> Array:
    return np.asarray(value, np.float64)


def _is(name: str, value: Array, expected: Array | float, relation: str) -> None:
    if not np.allclose(value, expected, rtol=CLOSE, atol=0.0):
        raise MisfitError(name, f"{name} = {relation}")


def _zero(node: Any, *names: str) -> None:
    for name in names:
        if np.asarray(getattr(node, name)).any():
            raise MisfitError(name, f"{name} = 0")


def _unit_if(node: Any, dt: float) -> Step:
    _is("r", _f(node.r), 1.0, "1")
    return Step(np.ones_like(_f(node.r)))


def _nothing(node: Any) -> None:
    return None


# snnTorch: r = tau / dt = 1 / (1 - beta), so that lam r = 1; beta = 1 gives infinite numbers


def _snn_dt(node: Any) -> Array | None:
    match node:
        case nir.LIF():
            return _finite_ratio(node.tau, node.r)
        case nir.CubaLIF():
            return _finite_ratio(node.tau_mem, node.r)
    return None


def _finite_ratio(tau: Any, r: Any) -> Array | None:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = _f(tau) / _f(r)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return ratio if ratio.size else None


def _leak_of(name: str, r: Any) -> Array:
    """1 / r where r = 1 / (1 - beta) with 0 <= beta <= 1."""
    r = _f(r)
    if not (r >= 1 - CLOSE).all():  # NaN too
        raise MisfitError(name, f"{name} = 1 / (1 - beta) of a beta in [0, 1]")
    return np.asarray(np.minimum(1.0 / r, 1.0))


def _snn_lif(node: Any, dt: float) -> Step:
    _zero(node, "v_leak", "v_reset")
    _ratio("tau", node.tau, node.r, dt, "r dt")
    return Step(np.ones_like(_f(node.r)), _leak_of("r", node.r))


def _snn_cuba(node: Any, dt: float) -> Step:
    _zero(node, "v_leak", "v_reset")
    return _cuba_of_ratios(node, dt)


def _cuba_of_ratios(node: Any, dt: float) -> Step:
    _ratio("tau_mem", node.tau_mem, node.r, dt, "r dt")
    _ratio("tau_syn", node.tau_syn, node.w_in, dt, "w_in dt")
    ones = np.ones_like(_f(node.r))
    return Step(ones, _leak_of("r", node.r), _leak_of("w_in", node.w_in), ones)


def _ratio(name: str, tau: Any, r: Any, dt: float, relation: str) -> None:
    tau, r = _f(tau), _f(r)
    both = np.isinf(tau) & np.isinf(r)
    _is(name, np.where(both, 1.0, tau), np.where(both, 1.0, r * dt), relation)


# SpikingJelly: tau = tau_sj dt; r = 1 (decay_input), or tau_sj; IF has r = 1 / dt


def _sj_dt(node: Any) -> Array | None:
    match node:
        case nir.IF():
            return _finite_ratio(1.0, node.r)
        case nir.LIF():
            return None if np.allclose(_f(node.r), 1.0, rtol=CLOSE) else _finite_ratio(node.tau, node.r)
        case nir.CubaLIF():
            return _finite_ratio(node.tau_mem, node.r)
    return None


def _sj_if(node: Any, dt: float) -> Step:
    _is("r", _f(node.r), 1.0 / dt, "1 / dt")
    return Step(np.ones_like(_f(node.r)))


def _sj_lif(node: Any, dt: float) -> Step:
    _is("v_leak", _f(node.v_leak), _f(node.v_reset), "v_reset")
    leak = dt / _f(node.tau)
    if np.allclose(_f(node.r), 1.0, rtol=CLOSE):
        return Step(leak, leak)
    _is("r", _f(node.r), _f(node.tau) / dt, "1 (decay_input) or tau / dt")
    return Step(np.ones_like(leak), _leak_of("r", node.r))


def _sj_cuba(node: Any, dt: float) -> Step:
    _zero(node, "v_leak")
    return _cuba_of_ratios(node, dt)


# Norse: r = 1; IAF takes its input whole; LIFCell's current jumps by the whole input


def _norse_leak(node: Any, dt: float) -> Step:
    _is("r", _f(node.r), 1.0, "1")
    leak = dt / _f(node.tau)
    return Step(leak, leak)


def _norse_cuba(node: Any, dt: float) -> Step:
    _is("r", _f(node.r), 1.0, "1")
    _is("w_in", _f(node.w_in), 1.0, "1")
    leak = dt / _f(node.tau_mem)
    return Step(leak, leak, dt / _f(node.tau_syn), np.ones_like(leak))


# sinabs: steps of 1, r = 1, alpha = exp(-1 / tau); LIF scales its input by 1 - alpha (norm_input), ExpLeak does not


def _sinabs_lif(node: Any, dt: float) -> Step:
    leak = _sinabs_leak(node, dt).leak
    assert leak is not None
    return Step(leak, leak)


def _sinabs_leak(node: Any, dt: float) -> Step:
    _is("r", _f(node.r), 1.0, "1")
    _zero(node, "v_leak")
    leak = -np.expm1(-dt / _f(node.tau))
    return Step(np.ones_like(leak), leak)


# Rockpool: r = tau exp(-dt / tau) / dt, w_in = 1; i = b (i + x), v = a v + i


def _rock_r(tau: Array, dt: Array | float) -> Array:
    return np.asarray(tau * np.exp(-dt / tau) / dt)


def _rock_dt(node: Any) -> Array | None:
    """The dt at which r = tau exp(-dt / tau) / dt, by Newton's steps for dt / tau."""
    tau, r = (_f(getattr(node, "tau_mem", getattr(node, "tau", np.nan))), _f(getattr(node, "r", np.nan)))
    good = np.isfinite(tau) & np.isfinite(r) & (tau > 0) & (r > 0)
    if not good.any() or isinstance(node, nir.IF):
        return None
    tau, r = tau[good], r[good]
    x = np.minimum(1.0 / r, 0.5)  # x exp(x) = 1 / r
    for _ in range(50):
        x = x - (x * np.exp(x) - 1.0 / r) / (np.exp(x) * (1.0 + x))
    return np.asarray(x * tau)


def _rock_gain(node: Any, dt: float, tau: Any) -> Array:
    _is("r", _f(node.r), _rock_r(_f(tau), dt), "tau exp(-dt / tau) / dt")
    _zero(node, "v_leak")
    return np.asarray(-np.expm1(-dt / _f(tau)))


def _rock_lif(node: Any, dt: float) -> Step:
    leak = _rock_gain(node, dt, node.tau)
    return Step(np.ones_like(leak), leak)


def _rock_syn(node: Any, dt: float) -> Step:
    leak = _rock_gain(node, dt, node.tau)
    return Step(1.0 - leak, leak)


def _rock_cuba(node: Any, dt: float) -> Step:
    leak = _rock_gain(node, dt, node.tau_mem)
    _is("w_in", _f(node.w_in), 1.0, "1")
    keep = np.exp(-dt / _f(node.tau_syn))
    return Step(np.ones_like(leak), leak, 1.0 - keep, keep)


_HARD = {**PLAIN, "reset": "v_reset", "v_init": "v_reset"}
_MANY = {**_HARD, "reset": "subtract", "threshold": "ge", "multispike": UNLIMITED, "integrator": "exp", "v_init": 0.0}

TABLE: dict[str, Dialect] = {
    d.name: d
    for d in (
        Dialect(
            "snntorch",
            1e-4,
            _snn_dt,
            {nir.LIF: _snn_lif, nir.CubaLIF: _snn_cuba},
            {**_HARD, "reset": "subtract", "reset_timing": "next_step", "v_init": 0.0},
            unsaid=(("reset_mechanism='subtract'", "reset"), ("reset_delay=True", "reset_timing")),
        ),
        Dialect(
            "spikingjelly",
            1e-4,
            _sj_dt,
            {nir.IF: _sj_if, nir.LIF: _sj_lif, nir.CubaLIF: _sj_cuba},
            {**_HARD, "threshold": "ge"},
            single_way=False,
        ),
        Dialect(
            "sinabs",
            1.0,
            _nothing,
            {nir.IF: _unit_if, nir.LIF: _sinabs_lif, nir.LI: _sinabs_leak},
            _MANY,
            unsaid=(
                ("norm_input=True (LIF), False (ExpLeak), tau_syn=None", ""),
                ("min_v_mem=None", "v_min"),
                ("MultiSpike", "multispike"),
                ("MembraneSubtract", "reset"),
            ),
        ),
        Dialect(
            "norse",
            1e-3,
            _nothing,
            {nir.IF: _unit_if, nir.LIF: _norse_leak, nir.LI: _norse_leak, nir.CubaLIF: _norse_cuba},
            {**_HARD, "v_init": "v_leak"},
            {nir.IF: {"v_init": "v_reset"}},
            unsaid=(("v_reset = 0", ""), ("reset to v_reset", "reset")),
        ),
        Dialect(
            "rockpool",
            1e-3,
            _rock_dt,
            {nir.LIF: _rock_lif, nir.CubaLIF: _rock_cuba, nir.LI: _rock_syn},
            {**_MANY, "multispike": 1 << 16},
            unsaid=(("bias = 0, no recurrent weights", ""), ("max_spikes_per_dt = 65536", "multispike")),
        ),
        Dialect(
            "nir",
            None,
            _nothing,
            {},
            {**_HARD, "v_init": 0.0},
            single_way=False,
            unsaid=(("the state starts at 0", "v_init"),),
        ),
    )
}
"""Name -> dialect. `nir` takes the numbers as they are (Pedersen et al. 2024): its rules are empty."""
