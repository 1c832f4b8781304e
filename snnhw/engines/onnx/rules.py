"""`snnhw/fixed.py` restated in ONNX operators on int64; a property test holds each rule to its original.

Integer division in ONNX rounds towards zero and `Mod` follows the divisor's sign, so that shifts are written as
divisions of numbers for which both are exact: of magnitudes, or of multiples.
"""

from __future__ import annotations

import numpy as np

from snnhw.engines.onnx.graph import Graph, Value, dtype_code
from snnhw.fixed import DECAY_ONE, STATE_BITS, STATE_MAX
from snnhw.network import IntLevel

INT64 = dtype_code(np.int64)


def decayed(g: Graph, x: Value, d: IntLevel) -> Value:
    """`sign(x) * ((|x| * (4096 - d)) >> 12)`."""
    if not np.any(d):
        return x
    kept = g.op("Div", g.op("Mul", g.op("Abs", x), g.int64(DECAY_ONE - np.asarray(d))), g.int64(DECAY_ONE))
    return g.op("Mul", g.op("Sign", x), kept)


def wrap24(g: Graph, x: Value) -> Value:
    """One turn of 2**24, applied once; +2**23 itself survives."""
    over = as_number(g, g.op("Greater", x, g.int64(STATE_MAX + 1)))
    under = as_number(g, g.op("LessOrEqual", x, g.int64(-STATE_MAX - 1)))
    return g.op("Add", x, g.op("Mul", g.op("Sub", under, over), g.int64(1 << STATE_BITS)))


def sat24(g: Graph, x: Value) -> Value:
    """Saturate to [-(2**23 - 1), 2**23 - 1]."""
    return g.op("Max", g.op("Min", x, g.int64(STATE_MAX)), g.int64(-STATE_MAX))


def shifted(g: Graph, total: Value, weight_exp: int) -> Value:
    """Scale by 2**weight_exp; a negative exponent floors: what is left of a multiple is subtracted first."""
    if weight_exp == 0:
        return total
    unit = g.int64(1 << abs(weight_exp))
    if weight_exp > 0:
        return g.op("Mul", total, unit)
    return g.op("Div", g.op("Sub", total, g.op("Mod", total, unit)), unit)


def current(g: Graph, u: Value | None, a: Value | None, du: IntLevel, act_shift: int) -> Value:
    """`dec(u, du) + (a << act_shift)`; `u` is None where it is forgotten (du = 4096), `a` where nothing arrives."""
    arrived = None if a is None else shifted(g, a, act_shift)
    if u is None:
        assert arrived is not None
        return arrived
    kept = decayed(g, u, du)
    return kept if arrived is None else g.op("Add", kept, arrived)


def membrane(g: Graph, v: Value, u: Value, dv: IntLevel, bias: IntLevel, debt: Value | None) -> Value:
    """`dec(v, dv) + u + bias - debt`."""
    total = g.op("Add", decayed(g, v, dv), u)
    if np.any(bias):
        total = g.op("Add", total, g.int64(bias))
    return total if debt is None else g.op("Sub", total, debt)


def spikes(g: Graph, v: Value, vth: IntLevel, greater_equal: bool, max_spikes: int) -> Value:
    """0 or 1, or up to `max_spikes` whole thresholds (then vth >= 1, so that a membrane that fires is positive)."""
    threshold = g.int64(vth)
    fired = as_number(g, g.op("GreaterOrEqual" if greater_equal else "Greater", v, threshold))
    if max_spikes == 1:
        return fired
    whole = g.op("Div", v, g.int64(np.maximum(vth, 1)))  # a divisor of 0 would end the process
    return g.op("Mul", g.op("Min", whole, g.int64(max_spikes)), fired)


def reset_zero(g: Graph, v: Value, s: Value) -> Value:
    """The membrane of a neuron that fired becomes 0."""
    return g.op("Mul", v, as_number(g, g.op("Equal", s, g.int64(0))))


def reset_subtract(g: Graph, v: Value, s: Value, vth: IntLevel) -> Value:
    """One threshold less for each spike."""
    return g.op("Sub", v, g.op("Mul", s, g.int64(vth)))


def reset_to(g: Graph, v: Value, s: Value, v_reset: IntLevel) -> Value:
    """Hard reset to a value."""
    return g.op("Where", g.op("Equal", s, g.int64(0)), v, g.int64(v_reset))


def floored(g: Graph, v: Value, v_min: IntLevel) -> Value:
    """max(v, v_min)."""
    return g.op("Max", v, g.int64(v_min))


def as_number(g: Graph, truth: Value) -> Value:
    """A boolean as 0 or 1."""
    return g.op("Cast", truth, to=INT64)
