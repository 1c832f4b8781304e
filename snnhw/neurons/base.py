"""What neuron models share: words of their rules, parameters of single neurons, and the registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

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
    """When a spike is charged (subtract only): in its step, in the next one, or as snnTorch does without delay: in its
    step, and a membrane still above the threshold pays it before the comparison and has it back (`prepaid`)."""

    SAME_STEP = "same_step"
    NEXT_STEP = "next_step"
    PREPAID = "prepaid"


Level = float | Array
"""A parameter of a neuron model: one number for the population, or an array that broadcasts to its shape."""

IntLevel = int | Array


UNLIMITED = (1 << 23) - 1
"""Spikes a step of neurons without a maximum: more thresholds than a membrane of 24 bit can hold."""

WORDS = {
    "reset_timing": "reset timing",
    "max_spikes": "spikes per step",
    "v_reset": "reset potential",
    "v_min": "lower clip of v",
    "v_init": "initial v",
}
"""Fields of neurons as messages call them."""


class Rules:
    """What a neuron's records in reals and in integers have in common."""

    comparison: Comparison
    reset: Reset
    reset_timing: ResetTiming
    v_reset: Any
    v_min: Any
    v_init: Any
    max_spikes: int

    @property
    def late(self) -> bool:
        """Whether the reset is charged in the next step, which then needs the spikes of this one."""
        return self.reset_timing is ResetTiming.NEXT_STEP

    @property
    def spiking(self) -> dict[str, Any]:
        """Fields of the spike and its reset, which are no numbers of the membrane."""
        return {name: getattr(self, name) for name in ("reset", "reset_timing", "max_spikes")}

    @property
    def levels(self) -> dict[str, Any]:
        """Values of the membrane beside the threshold that it has: after a reset, at the floor, at the start."""
        used = {
            "v_reset": self.reset == Reset.V_RESET,
            "v_min": self.v_min is not None,
            "v_init": bool(np.any(self.v_init)),
        }
        return {name: getattr(self, name) for name, there in used.items() if there}

    def beyond(self, numeric: Any, fires: bool) -> Iterator[tuple[str, Any, Any]]:
        """What a machine's neurons have not: the name of it, what is needed, what there is.

        Args:
            numeric: the machine's numbers.
            fires: whether its resets matter.
        """
        offered = {"reset": numeric.resets, "reset_timing": numeric.reset_timings} if fires else {}
        for name, known in offered.items():
            if getattr(self, name) not in known:
                yield WORDS.get(name, name), str(getattr(self, name)), ", ".join(known)
        if self.max_spikes > 1 and not numeric.multi_spike:
            yield WORDS["max_spikes"], "unlimited" if self.max_spikes >= UNLIMITED else str(self.max_spikes), 1
        for name, there, instead in (("v_min", numeric.v_min, "none"), ("v_init", numeric.v_init, 0)):
            if name in self.levels and not there:
                yield WORDS[name], getattr(self, name), instead

    def beyond_lif(self, fires: bool = True) -> Iterator[tuple[str, Any, Any]]:
        """What Lava's LIF has not: the name of it, what is needed, what there is.

        Args:
            fires: whether comparison and reset matter.
        """
        spike = {"comparison": Comparison.GT, "reset": Reset.ZERO, "reset_timing": ResetTiming.SAME_STEP}
        plains = {**spike, "max_spikes": 1} if fires else {}
        for name, plain in {**plains, "v_init": 0, "v_min": None}.items():
            own = getattr(self, name)
            if own is not None if plain is None else bool(np.any(own != plain)):
                yield WORDS.get(name, name), own, plain


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
