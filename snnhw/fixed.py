"""The integer contract (docs/design.md, "Semantics: the integer contract"), and nothing else.

Pure functions written with operators only, so that the same source runs on Python ints, on 64-bit numpy and torch
arrays (elementwise), inside numba kernels, and on the tracer that writes ONNX. Comparisons are used as the integers 0
and 1. All products fit in 64 bit when the arguments keep to their stated ranges. `step` holds the order of the rules.

Source: Lava 0.10.0, `lava/proc/lif/models.py` (`AbstractPyLifModelFixed`), with `du` counted as it acts
(Lava's own register counts one less: `ds_offset`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

Int = Any
"""An int, or an integer array of numpy or torch."""

WRAP_ONCE, WRAP, SATURATE = 0, 1, 2
"""Overflow of a state: Lava's one turn, two's complement, or clipping at both ends."""

RESET_ZERO, RESET_SUBTRACT, RESET_TO = 0, 1, 2
"""What a spike leaves of a membrane: nothing, what is above the threshold, or a value."""


class Width(NamedTuple):
    """Format of a state: its bits, what happens beyond them, and the ends of saturation."""

    bits: int
    overflow: int
    low: int
    high: int


class Widths(NamedTuple):
    """Formats of current and membrane, and the bits of a decay: 1 << decay_bits forgets all in one step, 0 nothing."""

    u: Width
    v: Width
    decay_bits: int


def width(bits: int, overflow: int) -> Width:
    """A format whose saturation is symmetric: -(2**(bits - 1) - 1) to 2**(bits - 1) - 1."""
    most = (1 << (bits - 1)) - 1
    return Width(bits, overflow, -most, most)


LOIHI = Widths(width(24, WRAP_ONCE), width(24, SATURATE), 12)
"""Formats of Lava 0.10.0: u wraps, v saturates."""

STATE_MAX = LOIHI.v.high
"""Largest membrane of 24 bits, 2**23 - 1; the smallest is its negative."""

DECAY_ONE = 1 << LOIHI.decay_bits
"""A decay of 12 bits that forgets everything in one step."""


class Parameters(NamedTuple):
    """Numbers of a neuron, or arrays of many, in membrane units (after `act_shift`)."""

    du: Int
    dv: Int
    vth: Int
    bias: Int
    v_reset: Int
    v_min: Int


class Rule(NamedTuple):
    """What a population's neurons have in common; all plain ints.

    Args:
        late: the reset is charged in the next step (RESET_SUBTRACT only).
        floor: the membrane is clipped at `v_min`.
        fires: 0 for accumulators, whose membrane is the result.
    """

    act_shift: int
    greater_equal: int
    max_spikes: int
    reset: int
    late: int
    floor: int
    fires: int
    widths: Widths

    @property
    def flat(self) -> tuple[int, ...]:
        """All numbers in a row, for what holds no nested tuples."""
        *own, widths = self
        return (*own, *widths.u, *widths.v, widths.decay_bits)


def rule_from(flat: tuple[int, ...]) -> Rule:
    """Inverse of `Rule.flat`."""
    u = Width(flat[7], flat[8], flat[9], flat[10])
    v = Width(flat[11], flat[12], flat[13], flat[14])
    return Rule(flat[0], flat[1], flat[2], flat[3], flat[4], flat[5], flat[6], Widths(u, v, flat[15]))


def decayed(x: Int, d: Int, decay_bits: int) -> Int:
    """`sign(x) * ((|x| * (2**decay_bits - d)) >> decay_bits)`: decay, rounded towards zero."""
    kept = (abs(x) * ((1 << decay_bits) - d)) >> decay_bits
    return kept - 2 * kept * (x < 0)


def decayed_narrow(x: Int, d: Int, decay_bits: int) -> Int:
    """`decayed` whose products fit in 32 bits, |x| < 2**31 and decay_bits <= 15: high and low bits apart."""
    whole, kept = abs(x), (1 << decay_bits) - d
    kept = (whole >> decay_bits) * kept + (((whole & ((1 << decay_bits) - 1)) * kept) >> decay_bits)
    return kept - 2 * kept * (x < 0)


def held(x: Int, width: tuple[int, ...]) -> Int:
    """What a state of this format keeps of a value.

    WRAP_ONCE turns once by 2**bits, and +2**(bits - 1) itself survives (Lava); WRAP is two's complement; SATURATE
    clips to low..high.
    """
    bits, overflow, low, high = width
    half = 1 << (bits - 1)
    if overflow == SATURATE:
        return x + (high - x) * (x > high) + (low - x) * (x < low)
    if overflow == WRAP_ONCE:
        return x - (x > half) * (2 * half) + (x <= -half) * (2 * half)
    return x - (((x + half) >> bits) << bits)


def ends(width: Width) -> tuple[int, int]:
    """Smallest and largest value that a state of this format keeps as it is."""
    half = 1 << (width.bits - 1)
    return {
        SATURATE: (width.low, width.high),
        WRAP_ONCE: (1 - half, half),
        WRAP: (-half, half - 1),
    }[width.overflow]


def shifted(total: Int, weight_exp: int) -> Int:
    """Scale an accumulated sum by 2**weight_exp; a negative exponent floors (sum, then shift)."""
    if weight_exp >= 0:
        return total << weight_exp
    return total >> -weight_exp


def current(u: Int, a: Int, du: Int, act_shift: Int, decay_bits: int) -> Int:
    """The synaptic current before it overflows: `dec(u, du) + (a << act_shift)`."""
    return decayed(u, du, decay_bits) + (a << act_shift)


def membrane(v: Int, u: Int, dv: Int, bias: Int, debt: Int, decay_bits: int) -> Int:
    """The membrane before it overflows; `debt` is vth * s[t-1] with next-step reset, else 0."""
    return decayed(v, dv, decay_bits) + u + bias - debt


def spikes(v: Int, vth: Int, greater_equal: Int, max_spikes: Int) -> Int:
    """Number of spikes of a membrane: 0 or 1, or up to `max_spikes` whole thresholds.

    `greater_equal` (0 or 1) chooses `>=` or `>`. Multi-spike counts need vth >= 1.
    """
    fired = (v > vth - greater_equal) * 1
    if max_spikes == 1:
        return fired
    whole = v // vth
    capped = whole - (whole - max_spikes) * (whole > max_spikes)
    return capped * fired


def reset_zero(v: Int, s: Int) -> Int:
    """Hard reset: the membrane of a neuron that fired becomes 0."""
    return v * (s == 0)


def reset_subtract(v: Int, s: Int, vth: Int) -> Int:
    """Soft reset: one threshold less for each spike."""
    return v - vth * s


def reset_to(v: Int, s: Int, v_reset: Int) -> Int:
    """Hard reset to a value."""
    return v + (v_reset - v) * (s > 0)


def floored(v: Int, v_min: Int) -> Int:
    """Lower clip of the membrane: max(v, v_min)."""
    return v + (v_min - v) * (v < v_min)


def fired(v: Int, s: Int, parameters: tuple[Int, ...], rule: Rule) -> tuple[Int, Int]:
    """Membrane and spikes after the spike decision: spike, reset unless it is charged later, lower clip."""
    _, _, vth, _, v_reset, v_min = parameters
    if rule.fires:
        s = spikes(v, vth, rule.greater_equal, rule.max_spikes)
        if not rule.late:
            if rule.reset == RESET_ZERO:
                v = reset_zero(v, s)
            elif rule.reset == RESET_SUBTRACT:
                v = reset_subtract(v, s, vth)
            else:
                v = reset_to(v, s, v_reset)
        if rule.floor:
            v = floored(v, v_min)
    return v, s


def step(
    state: tuple[Int, Int, Int], a: Int, parameters: tuple[Int, ...], rule: Rule
) -> tuple[tuple[Int, Int, Int], tuple[Int, Int]]:
    """One step of a neuron: the order of the rules, which stands nowhere else.

    Args:
        state: current, membrane and spikes of the step before.
        a: summed synaptic input.
        parameters: in the order of `Parameters`.

    Returns:
        Current, membrane (after reset) and spikes of this step, and whether u and v overflowed.
    """
    u, v, s = state
    du, dv, vth, bias, _, _ = parameters
    raw_u = current(u, a, du, rule.act_shift, rule.widths.decay_bits)
    u = held(raw_u, rule.widths.u)
    debt = vth * s if rule.late else 0
    raw_v = membrane(v, u, dv, bias, debt, rule.widths.decay_bits)
    v = held(raw_v, rule.widths.v)
    overflowed = raw_u != u, raw_v != v
    v, s = fired(v, s, parameters, rule)
    return (u, v, s), overflowed


def narrow_reach(sizes: Parameters, rule: Rule, forgets: bool, largest: int) -> tuple[int, int] | None:
    """Largest magnitudes of u and v between steps, where 32 bits hold every number of `step` with `decayed_narrow`.

    None where they are not enough. Of neurons that send at most one spike a step; u wraps once, v saturates.

    Args:
        sizes: largest magnitude of each parameter; of v_reset also that of a membrane at a sample's start.
        forgets: u has no memory (du is 1 << decay_bits everywhere).
        largest: bound of |a|.
    """
    turn, lift = 1 << rule.widths.u.bits, largest << rule.act_shift
    u = max(turn // 2, lift - turn)
    v = max(rule.widths.v.high + sizes.vth, sizes.v_reset, sizes.v_min)
    turns_once = forgets or lift <= turn  # else u would grow from step to step
    formats = rule.widths.u.overflow == WRAP_ONCE and rule.widths.v.overflow == SATURATE
    small = u + lift + turn < 1 << 31 and u + 2 * v + sizes.vth + sizes.bias < 1 << 31
    if turns_once and formats and rule.max_spikes == 1 and rule.widths.decay_bits <= 15 and small:
        return u, v
    return None
