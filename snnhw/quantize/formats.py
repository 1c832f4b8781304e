"""What integers a target offers, as the quantiser needs them; all numbers come from the target file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnhw.errors import QuantizeError
from snnhw.fixed import STATE_MAX
from snnhw.machine import Machine
from snnhw.network import Array


@dataclass(frozen=True)
class Formats:
    """Number formats of one target.

    Args:
        step: distance between two weights (2 where mixed signs cost the lowest bit).
        largest: largest weight; the most negative one used is its opposite.
        per_neuron_threshold: whether thresholds may differ inside a population.
        act_shifts: allowed left shifts of the synaptic sum.
        threshold_step: thresholds are multiples of this, in membrane units.
        threshold_max: largest threshold, in membrane units; never above what a membrane can hold.
        bias_bits: bits of a signed bias mantissa.
        bias_exponents: how many exponents a bias mantissa may have; 1 means none but 0.
        bias_exponent_min: smallest of them (netx has one only).
        payload: largest value of a graded spike; 1 where there are none.
        exponent_max: largest power of two that the weights of a projection can be multiplied by.
    """

    profile: str
    step: int
    largest: int
    per_neuron_threshold: bool
    act_shifts: tuple[int, ...]
    threshold_step: int
    threshold_max: int
    bias_bits: int
    bias_exponents: int
    payload: int
    exponent_max: int = 0
    bias_exponent_min: int = 0

    @property
    def stock(self) -> bool:
        """Whether neurons are Lava's own LIF (profile `lava-lif`)."""
        return self.profile == "lava-lif"


def formats_of(target: Machine, weight_bits: int | None) -> Formats:
    """Formats of a target at a number of weight bits (sign included); raises QuantizeError outside its range."""
    most = target.numeric.weight_bits
    bits = most if weight_bits is None else weight_bits
    if not 2 <= bits <= most:
        raise QuantizeError(
            "bad-weight-bits",
            "the target does not have weights of that width",
            where=f"--weight-bits {bits}",
            needed=bits,
            limit=f"2 to {most}",
            hint=f"choose 2 to {most}",
        )
    stock = target.profile == "lava-lif"
    unit = (2 if stock else 1) << (most - bits if stock else 0)
    largest = unit * ((1 << (bits - 1)) - 1)
    low, high = target.numeric.act_shift_min, target.numeric.act_shift_max
    return Formats(
        profile=target.profile,
        step=unit,
        largest=largest,
        per_neuron_threshold=not stock,
        act_shifts=tuple(range(high, low - 1, -1)),
        threshold_step=1 << target.numeric.vth_shift,
        threshold_max=min(((1 << target.numeric.vth_bits) - 1) << target.numeric.vth_shift, STATE_MAX),
        bias_bits=target.numeric.bias_mant_bits,
        bias_exponents=1 << target.numeric.bias_exp_bits,
        payload=(1 << target.numeric.payload_bits) - 1,
        exponent_max=max(target.numeric.weight_exp_max, 0),
        bias_exponent_min=target.numeric.bias_exp_min,
    )


def round_weights(w: Array, scale: Array | float, formats: Formats) -> Array:
    """Integer weights: the nearest multiple of `step`, clipped; int32."""
    q = formats.step * np.rint(w * scale / formats.step)
    return np.asarray(np.clip(q, -formats.largest, formats.largest), np.int32)
