"""What integers a machine offers, as the quantiser needs them; all numbers come from the target file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from snnhw.fixed import Widths
from snnhw.machine import Machine, Numeric
from snnhw.network import Array
from snnhw.operators import Operator


@dataclass(frozen=True)
class Formats:
    """Number formats of one machine.

    Args:
        numeric: formats and rules as the target file says them.
        widths: formats of the states and decays.
        weight_bits: width of a stored weight, sign included.
        step: distance between two weights.
        low, high: smallest and largest weight, multiples of the step.
        narrower: formats of the operators that have fewer bits than these.
    """

    numeric: Numeric
    widths: Widths
    weight_bits: int
    step: int
    low: int
    high: int
    narrower: Mapping[Operator, Formats] = field(default_factory=dict)

    def of(self, op: Operator) -> Formats:
        """The weights of one operator."""
        return self.narrower.get(op, self)

    @property
    def act_shifts(self) -> tuple[int, ...]:
        """Allowed left shifts of the synaptic sum, largest first."""
        return tuple(range(self.numeric.act_shift_max, self.numeric.act_shift_min - 1, -1))

    @property
    def decay_one(self) -> int:
        """The decay that forgets everything in one step."""
        return 1 << self.numeric.decay_bits

    @property
    def dv_max(self) -> int:
        """The largest decay of the membrane."""
        return self.decay_one if self.numeric.dv_max is None else self.numeric.dv_max

    @property
    def v_max(self) -> int:
        """The largest membrane whose opposite is one, too."""
        return (1 << (self.numeric.v_bits - 1)) - 1

    @property
    def state_max(self) -> int:
        """The largest value that both current and membrane can have, with its opposite."""
        return min((1 << (self.numeric.u_bits - 1)) - 1, self.v_max)

    @property
    def threshold_step(self) -> int:
        """Thresholds are multiples of this, in membrane units."""
        return 1 << self.numeric.vth_shift

    @property
    def threshold_max(self) -> int:
        """Largest threshold, in membrane units; never above what a membrane can hold."""
        return min(((1 << self.numeric.vth_bits) - 1) << self.numeric.vth_shift, self.v_max)

    @property
    def bias_mantissa(self) -> int:
        """Largest mantissa of a bias; the smallest is its opposite."""
        return (1 << (self.numeric.bias_mant_bits - 1)) - 1

    @property
    def bias_exponents(self) -> range:
        """Powers of two that a bias's mantissa may be multiplied by."""
        return range(self.numeric.bias_exp_min, 1 << self.numeric.bias_exp_bits)

    @property
    def payload(self) -> int:
        """Largest value of a graded spike; 1 where there are none."""
        return (1 << self.numeric.payload_bits) - 1

    def spans(self, w: Array) -> Array:
        """How much of the grid each weight takes, in units of its largest weight: |w| where it is symmetric."""
        return np.maximum(w, w * (self.high / self.low))


def formats_of(machine: Machine, bits: int | None = None) -> Formats:
    """Formats of a machine at a number of weight bits that it has (sign included; all of them if None).

    The grid is the multiples of weight_step from weight_min to weight_max, without one further step on one side (a
    code of two's complement without opposite). Fewer bits leave out the outer weights; where the synaptic sum has one
    shift only, so that thresholds cannot follow, every other weight instead.
    """
    n, most = machine.numeric, machine.numeric.weight_bits
    bits = most if bits is None else bits
    ends = min(-n.weight_min // n.weight_step, n.weight_max // n.weight_step)
    coarser = max(ends.bit_length() - (bits - 1), 0) if n.act_shift_min == n.act_shift_max else 0
    step = n.weight_step << coarser
    limits = [-n.weight_min // step, n.weight_max // step]
    if bits < most:
        limits = [min(limit, (1 << (bits - 1)) - 1) for limit in limits]
    if abs(limits[0] - limits[1]) == 1:
        limits = [min(limits)] * 2
    return Formats(n, machine.widths, bits, step, -step * limits[0], step * limits[1])


def formats_into(machine: Machine, bits: Mapping[Operator, int]) -> Formats:
    """Formats of a population whose operators have these bits: those of the widest, with the narrower ones."""
    most = max(bits.values(), default=machine.numeric.weight_bits)
    narrower = {op: formats_of(machine, n) for op, n in bits.items() if n < most}
    return replace(formats_of(machine, most), narrower=narrower)


def round_weights(w: Array, scale: Array | float, formats: Formats) -> Array:
    """Integer weights: the nearest multiple of `step`, clipped; int32."""
    q = formats.step * np.rint(w * scale / formats.step)
    return np.asarray(np.clip(q, formats.low, formats.high), np.int32)
