"""The neuron update of the fast engine: `fixed.py` itself, compiled by numba.

`register_jitable` lets compiled code call the very functions of the contract, so nothing is stated twice.
"""

from __future__ import annotations

import zlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload, register_jitable

from snnhw import fixed
from snnhw.network import Array, Comparison, IntNeuron, Reset, ResetTiming, Shape

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


def _at(level: Any, n: int) -> Any:
    """A parameter of neuron n; one number serves all. Compiled code decides by type, so that it costs nothing."""
    return level if np.ndim(level) == 0 else level[n]


@overload(_at)
def _typed_at(level, n):  # type: ignore[no-untyped-def]
    if isinstance(level, types.Array):
        return lambda level, n: level[n]
    return lambda level, n: level


def _compiled(contract, cache):  # type: ignore[no-untyped-def]
    """The kernel. `contract` only enters numba's cache key: its disk cache does not see that `fixed.py` changed."""

    @njit(parallel=True, nogil=True, cache=cache)
    def _steps(a, vth, bias, levels, rule, state, s_out, u_out, v_out, wraps, clips):  # type: ignore[no-untyped-def]
        """T steps of every neuron of every sample; arrays (B, T, N), `state` u, v and s (3, B, N) before and after."""
        _ = contract
        act_shift, greater_equal, max_spikes, reset, late, floor, fires = rule
        batch, steps, size = a.shape
        for b in prange(batch):
            u, v, s = state[0, b], state[1, b], state[2, b]
            for t in range(steps):
                for n in range(size):
                    du, dv = _at(levels[0], n), _at(levels[1], n)
                    v_reset, v_min = _at(levels[2], n), _at(levels[3], n)
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


def update(
    neuron: IntNeuron, fires: bool, a: Array, state: Array | None = None
) -> tuple[Array, Array, Array, int, int]:
    """Spikes, u, v (each (B, T, N)) and the numbers of wraps and clips for the summed input `a` (B, T, N).

    Args:
        neuron: arrays of it have one entry or N.
        state: u, v and spikes of the step before, (3, B, N), from `at_rest`; it is moved on. A sample's start if None.
    """
    batch, _, size = a.shape
    vth, bias = _spread(neuron.vth, size), _spread(neuron.bias, size)
    spikes, u, v = room(neuron, a.shape)
    wraps, clips = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
    state = at_rest(neuron, batch, size) if state is None else state
    _steps(a, vth, bias, _levels(neuron, size), _rule_of(neuron, fires), state, spikes, u, v, wraps, clips)
    return spikes, u, v, int(wraps.sum()), int(clips.sum())


def at_rest(neuron: IntNeuron, batch: int, size: int) -> Array:
    """u, v and spikes at the start of a sample, int64 (3, B, N)."""
    state = np.zeros((3, batch, size), np.int64)
    state[1] = neuron.v_init
    return state


def room(neuron: IntNeuron, shape: Shape) -> tuple[Array, Array, Array]:
    """Arrays for spikes, u and v."""
    spikes = np.empty(shape, np.int8 if neuron.max_spikes == 1 else np.int32)
    return spikes, np.empty(shape, np.int32), np.empty(shape, np.int32)


def flat(neuron: IntNeuron, shape: Shape) -> IntNeuron:
    """The neuron model over flattened neurons; what is one number for all stays one."""
    values = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
    spread: Any = {key: np.broadcast_to(x, shape).ravel() for key, x in values.items() if isinstance(x, np.ndarray)}
    return replace(neuron, **spread)


def _spread(x: Any, size: int) -> Array:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(x, np.int64), (size,)))


def _levels(n: IntNeuron, size: int) -> tuple[Any, ...]:
    """du, dv, v_reset and v_min: numbers where all are, else arrays all, so that two kernels serve all models."""
    levels = (n.du, n.dv, n.v_reset, 0 if n.v_min is None else n.v_min)
    if all(np.ndim(level) == 0 for level in levels):
        return tuple(int(level) for level in levels)
    return tuple(_spread(level, size) for level in levels)


def _rule_of(n: IntNeuron, fires: bool) -> tuple[Any, ...]:
    late = n.reset_timing is ResetTiming.NEXT_STEP
    floor = n.v_min is not None
    return n.act_shift, int(n.comparison is Comparison.GE), n.max_spikes, _RESETS[n.reset], late, floor, fires
