"""The neuron update of the fast engine: `fixed.py` itself, compiled by numba.

`register_jitable` lets compiled code call the very functions of the contract, so nothing is stated twice.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from snnhw import fixed
from snnhw.network import Array, Comparison, IntNeuron, Reset, ResetTiming

for _rule in (
    fixed.decayed,
    fixed.wrap24,
    fixed.sat24,
    fixed.current,
    fixed.membrane,
    fixed.spikes,
    fixed.reset_zero,
    fixed.reset_subtract,
    fixed.reset_to,
    fixed.floored,
):
    register_jitable(_rule)

_RESETS = {Reset.ZERO: 0, Reset.SUBTRACT: 1, Reset.V_RESET: 2}


def _compiled(contract, cache):  # type: ignore[no-untyped-def]
    """The kernel. `contract` only enters numba's cache key: its disk cache does not see that `fixed.py` changed."""

    @njit(parallel=True, nogil=True, cache=cache)
    def _steps(a, vth, bias, rule, s_out, u_out, v_out, wraps, clips):  # type: ignore[no-untyped-def]
        """T steps of every neuron of every sample; all arrays (B, T, N), `rule` the scalars of the neuron model."""
        _ = contract
        du, dv, act_shift, greater_equal, max_spikes, reset, late, v_reset, floor, v_min, v_init, fires = rule
        batch, steps, size = a.shape
        for b in prange(batch):
            u = np.zeros(size, np.int64)
            v = np.full(size, v_init, np.int64)
            s = np.zeros(size, np.int64)
            for t in range(steps):
                for n in range(size):
                    raw_u = fixed.current(u[n], np.int64(a[b, t, n]), du, act_shift)
                    new_u = fixed.wrap24(raw_u)
                    debt = vth[n] * s[n] if late else 0
                    raw_v = fixed.membrane(v[n], new_u, dv, bias[n], debt)
                    new_v = fixed.sat24(raw_v)
                    wraps[b] += raw_u != new_u
                    clips[b] += raw_v != new_v
                    if fires:
                        fired = fixed.spikes(new_v, vth[n], greater_equal, max_spikes)
                        s[n] = fired
                        if not late:
                            if reset == 0:
                                new_v = fixed.reset_zero(new_v, fired)
                            elif reset == 1:
                                new_v = fixed.reset_subtract(new_v, fired, vth[n])
                            else:
                                new_v = fixed.reset_to(new_v, fired, v_reset)
                        if floor:
                            new_v = fixed.floored(new_v, v_min)
                    u[n], v[n] = new_u, new_v
                    s_out[b, t, n], u_out[b, t, n], v_out[b, t, n] = s[n], new_u, new_v

    return _steps


def _kernel() -> Any:
    """Cached beside this file, else in the user's cache folder; not at all where numba can write to neither."""
    contract = zlib.crc32(Path(fixed.__file__).read_bytes() + Path(__file__).read_bytes())
    try:
        return _compiled(contract, cache=True)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # compiled again in every process, seconds
        return _compiled(contract, cache=False)  # type: ignore[no-untyped-call]


_steps = _kernel()


def update(neuron: IntNeuron, fires: bool, a: Array) -> tuple[Array, Array, Array, int, int]:
    """Spikes, u, v (each (B, T, N)) and the numbers of wraps and clips for the summed input `a` (B, T, N)."""
    batch, _, size = a.shape
    vth, bias = (
        np.ascontiguousarray(np.broadcast_to(np.asarray(x, np.int64), (size,))) for x in (neuron.vth, neuron.bias)
    )
    spikes = np.empty(a.shape, np.int8 if neuron.max_spikes == 1 else np.int32)
    u, v = np.empty(a.shape, np.int32), np.empty(a.shape, np.int32)
    wraps, clips = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
    _steps(a, vth, bias, _rule_of(neuron, fires), spikes, u, v, wraps, clips)
    return spikes, u, v, int(wraps.sum()), int(clips.sum())


def _rule_of(n: IntNeuron, fires: bool) -> tuple[Any, ...]:
    late = n.reset_timing is ResetTiming.NEXT_STEP
    return (
        n.du,
        n.dv,
        n.act_shift,
        int(n.comparison is Comparison.GE),
        n.max_spikes,
        _RESETS[n.reset],
        late,
        n.v_reset,
        n.v_min is not None,
        n.v_min if n.v_min is not None else 0,
        n.v_init,
        fires,
    )
