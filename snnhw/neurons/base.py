"""What neuron models share: words of their rules, parameters of single neurons, and the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from snnhw.operators.base import Array


class Comparison(StrEnum):
    """When a membrane fires: `v >= vth` or `v > vth`."""

    GE = "ge"
    GT = "gt"


class Reset(StrEnum):
    """What a spike leaves of the membrane: 0, v - vth * s, or v_reset."""

    ZERO = "zero"
    SUBTRACT = "subtract"
    V_RESET = "v_reset"


class ResetTiming(StrEnum):
    """Whether the reset is charged in the step of the spike or in the next one (subtract only)."""

    SAME_STEP = "same_step"
    NEXT_STEP = "next_step"


Level = float | Array
"""A parameter of a neuron model: one number for the population, or an array that broadcasts to its shape."""

IntLevel = int | Array


@dataclass(frozen=True)
class Reached:
    """What the states of a population can reach within some steps.

    Args:
        ranges: state -> smallest and largest value before it overflows.
        silent: no input can make any of its neurons fire.
        spikes: most whole thresholds that a membrane can hold in one step, whatever `max_spikes` allows.
    """

    ranges: dict[str, tuple[int, int]]
    silent: bool = False
    spikes: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Model:
    """A neuron model: its record in reals and the one in integers, which hold all that is particular to it."""

    name: str
    reals: Any
    integers: Any
