"""Interval analysis: can u and v leave their formats within T steps?

Current and membrane are monotone in what they receive, so `fixed` is called at both ends of an interval. Spikes are
not: there the interval is cut where the number of spikes changes, and `fixed` is called at both ends of the pieces that
can hold an extreme. A proof holds for all inputs; without one the bound is reported and engines count what happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

LAVA_BITS = fixed.LOIHI.u.bits
"""Bits of the current in Lava 0.10.0, the one width at which its overflow is defined for every value."""


@dataclass(frozen=True)
class Bound:
    """Largest and smallest u and v any input can cause within `steps`, before they overflow.

    Args:
        silent: no input can make any of its neurons fire within `steps`.
        widths: the formats of u and v.
        others: ranges of further states, in v's format.
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
    others: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    spikes: int = field(default=0, compare=False)

    @property
    def proven(self) -> bool:
        """Whether neither u nor v can overflow."""
        return all(_inside(width, low, high) for width, low, high in self._ranges)

    @property
    def _ranges(self) -> list[tuple[fixed.Width, int, int]]:
        u, v = self.widths.u, self.widths.v
        further = ((v, *ends) for ends in self.others.values())
        return [(u, self.u_low, self.u_high), (v, self.v_low, self.v_high), *further]

    @property
    def one_turn(self) -> bool:
        """Whether each state that wraps once, as Lava's, is back in its format after one turn: |x| < 3 * 2**(bits - 1).

        Beyond that Lava leaves values that no register of so many bits holds (at 16 bits, 254464 for 320000). At 24
        bits Lava itself says what becomes of them: engines agree with it and count, so it is merely unproven.
        """
        return all(
            width.overflow != fixed.WRAP_ONCE or width.bits == LAVA_BITS or max(-low, high) < 3 << (width.bits - 1)
            for width, low, high in self._ranges
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
            **{state: list(ends) for state, ends in self.others.items()},
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
    widths: fixed.Widths,
) -> Bound:
    """Bounds of one population over `steps` steps from rest.

    Args:
        a_low, a_high: ends of the summed input of every neuron, in its shape.
    """
    reached = neuron.bound(kind is not Kind.ACCUMULATOR, *_distinct(neuron, a_low, a_high), steps, widths)
    u, v, *others = reached.ranges.values()
    more = dict(zip(neuron.STATES[2:], others, strict=True))
    return Bound(name, *u, *v, steps, reached.silent, widths, more, reached.spikes)


def _distinct(neuron: IntNeuron, a_low: Array, a_high: Array) -> tuple[Array, Array]:
    """Ranges without the rows and columns that repeat the one before: inside an image a channel's pixels are alike.

    Only where the neuron model does not tell pixels apart either.
    """
    told = [np.shape(x) for x in (*neuron.parameters.values(), *neuron.initial.values())]
    for axis in (1, 2):
        if a_low.ndim != 3 or any(len(shape) > 2 - axis and shape[axis - 3] > 1 for shape in told):
            return a_low, a_high
        across = (0, 3 - axis)
        new = (np.diff(a_low, axis=axis) != 0).any(across) | (np.diff(a_high, axis=axis) != 0).any(across)
        kept = np.flatnonzero(np.concatenate([[True], new]))
        a_low, a_high = a_low.take(kept, axis), a_high.take(kept, axis)
    return a_low, a_high
