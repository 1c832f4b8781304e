"""Interval analysis: can u and v leave 24 bit within T steps?

The neuron rules are monotone in what they receive, so stepping the two ends of an interval through `fixed.py` bounds
every reachable state. A proof holds for all inputs; without one the bound is reported and engines count what happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.network import (
    Array,
    Comparison,
    IntNeuron,
    Kind,
    Network,
    Population,
    Projection,
    Reset,
    ResetTiming,
)


@dataclass(frozen=True)
class Bound:
    """Largest and smallest u and v any input can cause within `steps`, before wrap and saturation.

    Args:
        silent: no input can make any of its neurons fire within `steps`.
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
    spikes: int = field(default=0, compare=False)

    @property
    def proven(self) -> bool:
        """Whether neither u can wrap nor v saturate."""
        most = fixed.STATE_MAX
        return _current_fits(self.u_low, self.u_high) and self.v_low >= -most and self.v_high <= most

    def to_dict(self) -> dict[str, object]:
        """For the manifest; "silent" is only there where it is true."""
        found: dict[str, object] = {
            "population": self.population,
            "u": [self.u_low, self.u_high],
            "v": [self.v_low, self.v_high],
            "steps": self.steps,
            "limit": fixed.STATE_MAX,
            "status": "proven" if self.proven else "unproven",
        }
        return {**found, "silent": True} if self.silent else found


def _current_fits(low: int, high: int) -> bool:
    """Whether no current between these wraps."""
    return low > -fixed.STATE_MAX - 1 and high <= fixed.STATE_MAX + 1


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


def bound(name: str, kind: Kind, neuron: IntNeuron, a_low: Array, a_high: Array, steps: int) -> Bound:
    """Bounds of one population over `steps` steps from rest."""
    a_low, a_high = _distinct(neuron, a_low, a_high)
    u_low = u_high = np.zeros_like(a_low)
    v_low = v_high = np.full_like(a_low, neuron.v_init)
    lowest_u = highest_u = lowest_v = highest_v = spikes = 0
    bias, vth = np.asarray(neuron.bias, np.int64), np.asarray(neuron.vth, np.int64)
    spiking, fires = kind is not Kind.ACCUMULATOR, False
    late = spiking and neuron.reset_timing is ResetTiming.NEXT_STEP
    for step in range(steps):
        u_low, u_high = (
            fixed.current(u, a, neuron.du, neuron.act_shift) for u, a in ((u_low, a_low), (u_high, a_high))
        )
        kept_low, kept_high = (fixed.decayed(v, neuron.dv) for v in (v_low, v_high))
        if late and step > 0:
            kept_low, kept_high = _after_debt(neuron, vth, v_high, kept_low, kept_high)
        v_low, v_high = kept_low + u_low + bias, kept_high + u_high + bias
        lowest_u, highest_u = min(lowest_u, int(u_low.min())), max(highest_u, int(u_high.max()))
        lowest_v, highest_v = min(lowest_v, int(v_low.min())), max(highest_v, int(v_high.max()))
        if spiking:
            fires = fires or bool((v_high >= vth if neuron.comparison is Comparison.GE else v_high > vth).any())
            spikes = max(spikes, int(_thresholds(vth, v_high).max()))
            v_low, v_high = _after(neuron, vth, v_low, v_high)
    fits = _current_fits(lowest_u, highest_u)
    spikes = spikes if fits else int(_thresholds(vth, np.asarray(fixed.STATE_MAX)).max())
    return Bound(name, lowest_u, highest_u, lowest_v, highest_v, steps, spiking and not fires and fits, spikes)


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


def _after_debt(neuron: IntNeuron, vth: Array, v_high: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Next-step reset: decayed membranes (low, high) less the debt of those that fired in the step before.

    What fired s times was at least vth * s, so decay and debt leave no less than they leave of vth times the most
    spikes.
    """
    most = vth * _whole(neuron, vth, v_high)
    fires = v_high >= vth
    low = np.where(fires, np.minimum(low, fixed.decayed(most, neuron.dv) - most), low)
    return low, np.where(fires, np.maximum(high - _whole(neuron, vth, v_high) * vth, vth), high)


def _whole(neuron: IntNeuron, vth: Array, v: Array) -> Array:
    """Spikes of a membrane that fires."""
    return np.asarray(np.minimum(np.maximum(v // np.maximum(vth, 1), 1), neuron.max_spikes))


def _thresholds(vth: Array, v: Array) -> Array:
    """Whole thresholds in a membrane, which saturates."""
    return np.asarray(np.minimum(v, fixed.STATE_MAX) // np.maximum(vth, 1))


def _after(neuron: IntNeuron, vth: Array, v_low: Array, v_high: Array) -> tuple[Array, Array]:
    """Interval after firing and reset: silent membranes stay at or below vth, fired ones are where the reset puts them.

    With next-step reset nothing happens yet; the highest membrane may be one that has just come to the threshold.
    """
    low, high = v_low, v_high
    if neuron.reset_timing is not ResetTiming.NEXT_STEP:
        silent_high, fires = np.minimum(v_high, vth), v_high >= vth
        to_low: Array | int = neuron.v_reset if neuron.reset is Reset.V_RESET else 0
        to_high: Array | int = v_high - _whole(neuron, vth, v_high) * vth if neuron.reset is Reset.SUBTRACT else to_low
        high = np.where(fires, np.maximum(silent_high, to_high), v_high)
        low = np.where(fires, np.minimum(v_low, to_low), v_low)
    if neuron.v_min is not None:
        low, high = np.maximum(low, neuron.v_min), np.maximum(high, neuron.v_min)
    return low, high
