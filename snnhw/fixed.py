"""The integer contract (docs/design.md §4), and nothing else.

Pure functions written with operators only, so that the same source runs on Python ints, on numpy and torch
arrays (elementwise), and inside numba kernels. Booleans are used as the integers 0 and 1. All products fit in
64 bit when the arguments keep to their stated ranges.

Source: Lava 0.10.0, `lava/proc/lif/models.py` (`AbstractPyLifModelFixed`), with `du` counted as it acts
(Lava's own register counts one less: `ds_offset`).
"""

from __future__ import annotations

from typing import Any

STATE_BITS = 24
STATE_MAX = (1 << (STATE_BITS - 1)) - 1
"""Largest membrane, 2**23 - 1; the smallest is its negative (saturation is symmetric)."""

DECAY_BITS = 12
DECAY_ONE = 1 << DECAY_BITS
"""A decay of `DECAY_ONE` forgets everything in one step, a decay of 0 nothing."""

Int = Any
"""An int, or an integer array of numpy or torch."""


def decayed(x: Int, d: Int) -> Int:
    """`sign(x) * ((|x| * (4096 - d)) >> 12)`: decay by d/4096, rounded towards zero.

    Written without `sign`: the negative part is shifted as a positive number.
    """
    negative = (x < 0) * 1
    magnitude = x - 2 * x * negative
    kept = (magnitude * (DECAY_ONE - d)) >> DECAY_BITS
    return kept - 2 * kept * negative


def wrap24(x: Int) -> Int:
    """Lava's overflow of the current: one turn of 2**24, applied once; +2**23 itself survives."""
    over = (x > STATE_MAX + 1) * 1
    under = (x <= -STATE_MAX - 1) * 1
    return x - (over << STATE_BITS) + (under << STATE_BITS)


def sat24(x: Int) -> Int:
    """Saturate to [-(2**23 - 1), 2**23 - 1]."""
    high = (x > STATE_MAX) * 1
    low = (x < -STATE_MAX) * 1
    return x * (1 - high) * (1 - low) + STATE_MAX * high - STATE_MAX * low


def shifted(total: Int, weight_exp: int) -> Int:
    """Scale an accumulated sum by 2**weight_exp; a negative exponent floors (sum, then shift)."""
    if weight_exp >= 0:
        return total << weight_exp
    return total >> -weight_exp


def current(u: Int, a: Int, du: Int, act_shift: Int) -> Int:
    """The synaptic current before it wraps: `dec(u, du) + (a << act_shift)`."""
    return decayed(u, du) + (a << act_shift)


def membrane(v: Int, u: Int, dv: Int, bias: Int, debt: Int) -> Int:
    """The membrane before it saturates; `debt` is vth * s[t-1] with next-step reset, else 0."""
    return decayed(v, dv) + u + bias - debt


def spikes(v: Int, vth: Int, greater_equal: Int, max_spikes: Int) -> Int:
    """Number of spikes of a membrane: 0 or 1, or up to `max_spikes` whole thresholds.

    `greater_equal` (0 or 1) chooses `>=` or `>`. Multi-spike counts need vth >= 1.
    """
    fired = (v > vth) * 1 + (v == vth) * greater_equal
    if max_spikes == 1:
        return fired
    whole = v // vth
    capped = whole - (whole - max_spikes) * ((whole > max_spikes) * 1)
    return capped * fired


def reset_zero(v: Int, s: Int) -> Int:
    """Hard reset: the membrane of a neuron that fired becomes 0."""
    return v * ((s == 0) * 1)


def reset_subtract(v: Int, s: Int, vth: Int) -> Int:
    """Soft reset: one threshold less for each spike."""
    return v - vth * s


def reset_to(v: Int, s: Int, v_reset: Int) -> Int:
    """Hard reset to a value."""
    silent = (s == 0) * 1
    return v * silent + v_reset * (1 - silent)


def floored(v: Int, v_min: Int) -> Int:
    """Lower clip of the membrane: max(v, v_min)."""
    low = (v < v_min) * 1
    return v * (1 - low) + v_min * low
