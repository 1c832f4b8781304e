# mypy: allow-subclassing-any
"""Lava's own fixed-point models with their arithmetic untouched: we only record, count and report what they raise."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.lif.models import PyLifResetModelBitAcc

from snnhw import fixed
from snnhw.engines.lava.recorder import Recorder
from snnhw.engines.lava.report import guarded

CONV_LIMIT = 1 << 23
"""`PyConvModelFixed` wraps its sum to signed 24 bit; the contract does not."""

DECAY_BITS = fixed.LOIHI.decay_bits

SUM_LIMIT = 1 << 25
"""`AbstractPyLifModelFixed` shifts the sum by 6 within 32 bits."""


class StockDense(PyDenseModelBitAcc):
    """`lava.proc.dense.models.PyDenseModelBitAcc`."""

    run_spk = guarded(PyDenseModelBitAcc.run_spk)


class StockConv(PyConvModelFixed):
    """`lava.proc.conv.models.PyConvModelFixed`."""

    run_spk = guarded(PyConvModelFixed.run_spk)

    def clamp_precision(self, x: Any) -> Any:
        """Lava's wrap to 24 bit, which is refused because nothing after it could see it."""
        if x.size and max(-int(x.min()), int(x.max())) >= CONV_LIMIT:
            raise OverflowError("stock Conv would wrap a sum to 24 bits (use connections='sparse')")
        return super().clamp_precision(x)


class StockLif(PyLifResetModelBitAcc):
    """`lava.proc.lif.models.PyLifResetModelBitAcc`; its hooks see every state once, before and after reset."""

    run_spk = guarded(PyLifResetModelBitAcc.run_spk)

    @guarded
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.recorder = Recorder(proc_params["place"], tuple(proc_params["shape"]))
        self.overflows = (0, 0)

    def subthr_dynamics(self, activation_in: Any) -> None:
        """Lava's dynamics, then the same step once more in 64 bit to see whether it wrapped or saturated."""
        if max(-int(activation_in.min()), int(activation_in.max())) >= SUM_LIMIT:
            raise OverflowError("the synaptic input of LIF needs more than 26 bits")
        u, v = self.u.astype(np.int64), self.v.astype(np.int64)
        super().subthr_dynamics(activation_in)
        raw_u = fixed.current(u, activation_in.astype(np.int64), self.du + self.ds_offset, self.act_shift, DECAY_BITS)
        arrived = self.u.astype(np.int64)
        raw_v = fixed.membrane(v, arrived, self.dv + self.dm_offset, self.effective_bias, 0, DECAY_BITS)
        self.overflows = (int((raw_u != self.u).sum()), int((raw_v != self.v).sum()))

    def reset_voltage(self, spike_vector: Any) -> None:
        """Lava's reset, then the record (v after reset)."""
        super().reset_voltage(spike_vector)
        if not self.proc_params["fires"] and spike_vector.any():
            raise OverflowError("an accumulator passed the largest threshold of LIF, 131071 << 6, and would be reset")
        self.recorder.write(self.time_step, {"spikes": spike_vector, "u": self.u, "v": self.v}, *self.overflows)
