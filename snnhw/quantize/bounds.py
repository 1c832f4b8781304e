"""Interval analysis: can u and v leave their formats within T steps?

Current and membrane are monotone in what they receive, so `fixed` is called at both ends of an interval. Spikes are
not: there the interval is cut where the number of spikes changes, and `fixed` is called at both ends of the pieces that
can hold an extreme. A proof holds for all inputs; without one the bound is reported and engines count what happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.errors import QuantizeError
from snnhw.network import (
    Array,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
)


@dataclass(frozen=True)
class Bound:
    """Largest and smallest u and v any input can cause within `steps`, before they overflow.

    Args:
        silent: no input can make any of its neurons fire within `steps`.
        widths: the formats of u and v.
        spikes: most whole thresholds that a membrane can hold in one step, whatever `max_spikes` allows; only known
            by `bound`, not kept in artifacts.
    """

    population: str
    u_low: int
    u_high: int
    v_low: int
    v_high: int
    steps: int
    silent: bool = False
    widths: fixed.Widths = fixed.LOIHI
    spikes: int = field(default=0, compare=False)

    @property
    def proven(self) -> bool:
        """Whether neither u nor v can overflow."""
        return _inside(self.widths.u, self.u_low, self.u_high) and _inside(self.widths.v, self.v_low, self.v_high)

    @property
    def one_turn(self) -> bool:
        """Whether each state that wraps once, as Lava's, is back in its format after one turn: |x| < 3 * 2**(bits - 1).

        Beyond that Lava leaves values that no register of so many bits holds (at 16 bits, 254464 for 320000).
        """
        states = ((self.widths.u, self.u_low, self.u_high), (self.widths.v, self.v_low, self.v_high))
        return all(
            width.overflow != fixed.WRAP_ONCE or max(-low, high) < 3 << (width.bits - 1) for width, low, high in states
        )

    def on_a_turn(self) -> Bound:
        """The bound itself; raises QuantizeError 'turns-twice' where a state that wraps once may have to twice."""
        if not self.one_turn:
            raise QuantizeError(
                "turns-twice",
                "a state may leave its bits by more than the one turn that the target's overflow takes back",
                where=self.population,
                needed=f"u {self.u_low} to {self.u_high}, v {self.v_low} to {self.v_high} in {self.steps} steps",
                limit=f"below 3 * 2**(bits - 1): u {3 << (self.widths.u.bits - 1)}, v {3 << (self.widths.v.bits - 1)}",
                hint="use fewer steps or smaller inputs, give calibration data, or a target that wraps or saturates",
            )
        return self

    def to_dict(self) -> dict[str, object]:
        """For the manifest; "silent" is only there where it is true."""
        found: dict[str, object] = {
            "population": self.population,
            "u": [self.u_low, self.u_high],
            "v": [self.v_low, self.v_high],
            "steps": self.steps,
            "limit": self.widths.v.high,
            "status": "proven" if self.proven else "unproven",
        }
        return {**found, "silent": True} if self.silent else found


def _inside(width: fixed.Width, low: int, high: int) -> bool:
    """Whether no value between these overflows."""
    lowest, highest = fixed.ends(width)
    return lowest <= low and high <= highest


def arriving_range(network: Network[Any], population: Population[Any]) -> tuple[Array, Array]:
    """Smallest and largest summed input a of every neuron, in integers or (for a float network) reals."""
    low: Array = np.zeros(population.shape, np.int64)
    high: Array = np.zeros(population.shape, np.int64)
    known: dict[tuple[Any, ...], tuple[Array, Array]] = {}  # summands that share weights reach the same bounds
    for projection in network.into(population.name):
        pre = network[projection.pre]
        key = (projection.op, projection.weight_exp, pre.shape, pre.payload, pre.payload_scale)
        if key not in known:
            known[key] = _projected_range(network, projection, pre, population)
        bottom, top = known[key]
        low, high = low + bottom, high + top
    return low, high


def _projected_range(
    network: Network[Any], projection: Projection, pre: Population[Any], population: Population[Any]
) -> tuple[Array, Array]:
    """Smallest and largest input of every neuron by one projection."""
    bottom, top = projection.op.reach(network.weights, *pre.payload, pre.shape, population.shape)
    if bottom.dtype.kind == "f":
        bottom, top = bottom * pre.payload_scale, top * pre.payload_scale
    if projection.weight_exp:
        bottom, top = (fixed.shifted(end, projection.weight_exp) for end in (bottom, top))
    return bottom, top


def bound(
    name: str,
    kind: Kind,
    neuron: IntNeuron,
    a_low: Array,
    a_high: Array,
    steps: int,
    widths: fixed.Widths = fixed.LOIHI,
) -> Bound:
    """Bounds of one population over `steps` steps from rest.

    Args:
        a_low, a_high: ends of the summed input of every neuron, in its shape.
    """
    arriving = _distinct(neuron, a_low, a_high)
    p, rule = neuron.parameters, neuron.rule(kind is not Kind.ACCUMULATOR, widths)
    vth, bits = np.asarray(p.vth, np.int64), widths.decay_bits
    u = np.zeros_like(arriving[0]), np.zeros_like(arriving[1])
    cells = [(np.full_like(arriving[0], neuron.v_init), np.zeros_like(arriving[0]))]  # membranes and their last spikes
    raw_u, raw_v, spikes, fires = (0, 0), (0, 0), 0, False
    for _ in range(steps):
        u = tuple(fixed.current(end, a, p.du, rule.act_shift, bits) for end, a in zip(u, arriving, strict=True))
        raw_u = min(raw_u[0], int(u[0].min())), max(raw_u[1], int(u[1].max()))
        u = _held(*u, widths.u)
        ends = [
            [fixed.membrane(v, end, p.dv, p.bias, vth * s if rule.late else 0, bits) for v, s in cells] for end in u
        ]
        low, high = reduce(np.minimum, ends[0]), reduce(np.maximum, ends[1])
        raw_v = min(raw_v[0], int(low.min())), max(raw_v[1], int(high.max()))
        low, high = _held(low, high, widths.v)
        cells = [fixed.fired(v, np.zeros_like(v), p, rule) for v in _corners(low, high, vth, rule)]
        if rule.fires:
            fires = fires or bool(np.any(cells[1][1]))
            spikes = max(spikes, int(_thresholds(vth, high).max()))
        if not rule.late:
            membranes = [v for v, _ in cells]
            cells = [(reduce(end, membranes), np.zeros_like(low)) for end in (np.minimum, np.maximum)]
    return Bound(name, *raw_u, *raw_v, steps, bool(rule.fires) and not fires, widths, spikes)


def _held(low: Array, high: Array, width: fixed.Width) -> tuple[Array, Array]:
    """Ends of what a state keeps of the values between two; where some turn over they may be anywhere."""
    bottom, top = fixed.ends(width)
    turns = ((low < bottom) | (high > top)) & (width.overflow != fixed.SATURATE)
    low, high = fixed.held(low, width), fixed.held(high, width)
    return (
        np.where(turns, np.minimum(np.minimum(low, high), bottom), low),
        np.where(turns, np.maximum(np.maximum(low, high), top), high),
    )


def _corners(low: Array, high: Array, vth: Array, rule: fixed.Rule) -> list[Array]:
    """Membranes between two at which what `fixed.fired` leaves of them, or the debt, can be extreme.

    Both ends, lowest first; the last that is silent and the first that fires; the last with as many spikes as the
    lowest, and the first with as many as the highest: between those a membrane and its debt only rise.
    """
    found = [low, high]
    if rule.fires:
        whole = np.maximum(vth, 1)
        silent = vth - rule.greater_equal
        same = (np.maximum(low // whole, 0) + 1) * whole - 1
        most = np.clip(high // whole, 0, rule.max_spikes) * whole
        found += [np.clip(v, low, high) for v in (silent, silent + 1, same, most)]
    return found


def _distinct(neuron: IntNeuron, a_low: Array, a_high: Array) -> tuple[Array, Array]:
    """Ranges without the rows and columns that repeat the one before: inside an image a channel's pixels are alike.

    Only where the neuron model does not tell pixels apart either.
    """
    n = neuron
    told = [np.shape(x) for x in (n.bias, n.vth, n.du, n.dv, n.v_init, n.v_reset, 0 if n.v_min is None else n.v_min)]
    for axis in (1, 2):
        if a_low.ndim != 3 or any(len(shape) > 2 - axis and shape[axis - 3] > 1 for shape in told):
            return a_low, a_high
        across = (0, 3 - axis)
        new = (np.diff(a_low, axis=axis) != 0).any(across) | (np.diff(a_high, axis=axis) != 0).any(across)
        kept = np.flatnonzero(np.concatenate([[True], new]))
        a_low, a_high = a_low.take(kept, axis), a_high.take(kept, axis)
    return a_low, a_high


def _thresholds(vth: Array, v: Array) -> Array:
    """Whole thresholds in a membrane."""
    return np.asarray(v // np.maximum(vth, 1))
