"""snnTorch's subtraction without delay (`reset_delay=False`, snntorch/_neurons/leaky.py): a membrane that is still
above its threshold after the reset pays a threshold before it is compared, and has it back afterwards.

With q = [v[t-1] > vth]: u = keep * v[t-1] + x - vth * q; s[t] = [u > vth]; v[t] = u - vth * (s[t] - q). So it fires
only above 2 vth where q is 1. Where no membrane can exceed 2 vth, q is 0 at every step, and it is the plain neuron that
subtracts in the step of the spike: integers become that neuron when bounds prove it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from snnhw import fixed
from snnhw.neurons import cuba_lif
from snnhw.neurons.base import Comparison, Model, Reached, ResetTiming
from snnhw.neurons.cuba_lif import FloatNeuron, IntNeuron, corners, current_between, held_between, thresholds
from snnhw.operators.base import Array


@dataclass(frozen=True)
class FloatPrepaid(FloatNeuron):
    """The neuron in reals: one spike a step, reset by subtraction, no lower clip."""

    MODEL: ClassVar[str] = "prepaid"
    PROFILES: ClassVar[tuple[str, ...]] = ("programmable",)

    @classmethod
    def of(cls, plain: FloatNeuron) -> FloatPrepaid:
        """That of the same numbers."""
        return cls(**{**_numbers(plain), "reset_timing": ResetTiming.SAME_STEP})

    def hard(self) -> FloatNeuron:
        """With a reset to zero nothing is left to pay."""
        return FloatNeuron(**_numbers(self)).hard()

    def cells(self, shape: Any, dtype: Any) -> PrepaidCells:
        """State of a batch at the start of a sample."""
        return PrepaidCells(self, shape, dtype)

    def quantised(self, plain: IntNeuron, unit: Array, decay: Any) -> IntPrepaid:
        """The integer neuron of the common parameters."""
        return IntPrepaid(**_numbers(plain))

    @property
    def text(self) -> str:
        """For `format_network`."""
        return f" prepaid{super().text}"


class PrepaidCells(cuba_lif.Cells):
    """Current and membrane over the steps of a sample."""

    def step(self, x: Array) -> Array:
        """Spikes of one step for the summed input x."""
        n = self.neuron
        above = self.v >= n.threshold if n.comparison is Comparison.GE else self.v > n.threshold
        paid = self.debt = above * n.threshold
        self.before = self.integrate(x)
        s = self.decide(n.threshold)
        self.v = self.v + paid
        return s


def step(state: Any, a: Any, parameters: Any, rule: Any) -> Any:
    """One step in integers: `fixed.step` at twice the threshold where the membrane is above it, of which a spike takes
    one; so nothing is rounded or clipped between payment and return."""
    du, dv, vth, bias, v_reset, v_min = parameters
    paid = vth * ((state[1] > vth - rule.greater_equal) * 1)
    (u, v, s), left = fixed.step(state, a, (du, dv, vth + paid, bias, v_reset, v_min), rule)
    return (u, v + paid * s * rule.fires, s), left


@dataclass(frozen=True)
class IntPrepaid(IntNeuron):
    """The neuron in integers."""

    MODEL: ClassVar[str] = "prepaid"
    step = staticmethod(step)

    def bounded(self, spikes: int) -> IntNeuron:
        """The plain neuron where a membrane starts at rest and never holds two thresholds."""
        return self if spikes > 1 or np.any(self.v_init) else IntNeuron(**_numbers(self))

    def bound(self, fires: bool, a_low: Array, a_high: Array, steps: int, widths: fixed.Widths) -> Reached:
        """What the states can reach: as the plain model, where a membrane can be above its threshold also at twice it.

        A membrane is counted before its payment.
        """
        p, rule = fixed.Parameters(**self.parameters), self.rule(fires, widths)
        vth, bits, nothing = np.asarray(p.vth, np.int64), widths.decay_bits, np.zeros_like(a_low)
        u: tuple[Array, Array] = nothing, nothing
        v = np.full_like(a_low, self.v_init), np.full_like(a_high, self.v_init)
        extremes, spikes, spiked = cuba_lif.Extremes(self.STATES), 0, False
        settling = cuba_lif.Settling()
        for _ in range(steps):
            u = current_between(u, (a_low, a_high), p, rule, extremes)
            low, high = (fixed.membrane(x, now, p.dv, p.bias, 0, bits) for x, now in zip(v, u, strict=True))
            extremes.see("v", low, high)
            low, high = held_between(low, high, widths.v)
            if settling.done((u, widths.u), ((low, high), widths.v), (v, widths.v)):
                break
            u, (low, high), v = settling.ranges
            membranes, counts = [], []
            for paid in (vth * (end > vth - rule.greater_equal) for end in v):
                at = p._replace(vth=vth + paid)
                for x in corners(low, high, vth + paid, rule):
                    left, s = fixed.fired(x, nothing, at, rule)
                    membranes.append(left + paid * s)
                    counts.append(s)
            v = reduce(np.minimum, membranes), reduce(np.maximum, membranes)
            if fires:
                spiked = spiked or bool(np.any(counts))
                spikes = max(spikes, int(thresholds(vth, high).max()))
        return Reached(extremes.ranges, fires and not spiked, spikes)

    def to_node(self, *args: Any) -> tuple[str, dict[str, Array], dict[str, Any]]:
        """The node of NIR as of the plain neuron; its Semantics say the rest."""
        kind, parameters, said = super().to_node(*args)
        return kind, parameters, {**said, "reset_timing": ResetTiming.PREPAID}

    @property
    def text(self) -> str:
        """For `format_network`."""
        return f" prepaid{super().text}"


def _numbers(neuron: Any) -> Mapping[str, Any]:
    return {f.name: getattr(neuron, f.name) for f in fields(neuron)}


MODEL = Model("prepaid", FloatPrepaid, IntPrepaid)
