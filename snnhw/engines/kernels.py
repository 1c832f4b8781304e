"""The neuron update of the fast engine: `fixed.py` itself, compiled by numba.

`register_jitable` lets compiled code call the very functions of the contract, so nothing is stated twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload, register_jitable

from snnhw import fixed
from snnhw.network import Array, IntNeuron, Shape

for _rule in (
    fixed.rule_from,
    fixed.decayed,
    fixed.held,
    fixed.current,
    fixed.membrane,
    fixed.spikes,
    fixed.reset_zero,
    fixed.reset_subtract,
    fixed.reset_to,
    fixed.floored,
    fixed.fired,
    fixed.step,
):
    register_jitable(forceinline=True)(_rule)

STATES = ("u", "v")
"""What `update` can record besides spikes."""


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
    def _steps(a, parameters, flat_rule, state, s_out, u_out, v_out, wraps, clips):  # type: ignore[no-untyped-def]
        """T steps of every neuron of every sample; arrays (B, T, N), `state` u, v and s (3, B, N) before and after.

        An array without entries is not written.
        """
        _ = contract
        batch, steps, size = a.shape
        keeps_u, keeps_v = u_out.size > 0, v_out.size > 0
        for b in prange(batch):
            rule = fixed.rule_from(flat_rule)  # inside: what runs in parallel can capture no nested tuple
            u, v, s = state[0, b], state[1, b], state[2, b]
            for t in range(steps):
                for n in range(size):
                    mine = (
                        _at(parameters[0], n),
                        _at(parameters[1], n),
                        parameters[2][n],
                        parameters[3][n],
                        _at(parameters[4], n),
                        _at(parameters[5], n),
                    )
                    now, overflowed = fixed.step((u[n], v[n], s[n]), np.int64(a[b, t, n]), mine, rule)
                    u[n], v[n], s[n] = now
                    wraps[b] += overflowed[0]
                    clips[b] += overflowed[1]
                    s_out[b, t, n] = now[2]
                    if keeps_u:
                        u_out[b, t, n] = now[0]
                    if keeps_v:
                        v_out[b, t, n] = now[1]

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
    neuron: IntNeuron,
    fires: bool,
    a: Array,
    state: Array | None = None,
    widths: fixed.Widths = fixed.LOIHI,
    want: Collection[str] = STATES,
) -> tuple[Array, Array, Array, int, int]:
    """Spikes, u, v (each (B, T, N)) and the numbers of overflows of u and v for the summed input `a` (B, T, N).

    Args:
        neuron: arrays of it have one entry or N.
        state: u, v and spikes of the step before, (3, B, N), from `at_rest`; it is moved on. A sample's start if None.
        widths: formats of states and decays.
        want: states to record; the others come back without entries.
    """
    batch, _, size = a.shape
    spikes, u, v = room(neuron, a.shape, want)
    wraps, clips = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
    state = at_rest(neuron, batch, size) if state is None else state
    rule = neuron.rule(fires, widths).flat
    _steps(a, _parameters(neuron, size), rule, state, spikes, u, v, wraps, clips)
    return spikes, u, v, int(wraps.sum()), int(clips.sum())


def at_rest(neuron: IntNeuron, batch: int, size: int) -> Array:
    """u, v and spikes at the start of a sample, int64 (3, B, N)."""
    state = np.zeros((3, batch, size), np.int64)
    state[1] = neuron.v_init
    return state


def room(neuron: IntNeuron, shape: Shape, want: Collection[str] = STATES) -> tuple[Array, Array, Array]:
    """Arrays for spikes, u and v; those of states that nobody wants have no entries."""
    spikes = np.empty(shape, np.int8 if neuron.max_spikes == 1 else np.int32)
    u, v = (np.empty(shape if name in want else (0, 0, 0), np.int32) for name in STATES)
    return spikes, u, v


def flat(neuron: IntNeuron, shape: Shape) -> IntNeuron:
    """The neuron model over flattened neurons; what is one number for all stays one."""
    values = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
    spread: Any = {key: np.broadcast_to(x, shape).ravel() for key, x in values.items() if isinstance(x, np.ndarray)}
    return replace(neuron, **spread)


def _spread(x: Any, size: int) -> Array:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(x, np.int64), (size,)))


def _parameters(neuron: IntNeuron, size: int) -> tuple[Any, ...]:
    """Thresholds and biases as arrays; the others as numbers where all are, else as arrays all, so that two kernels
    serve all models."""
    du, dv, vth, bias, *levels = neuron.parameters
    found = [du, dv, *levels]
    plain = all(np.ndim(level) == 0 for level in found)
    du, dv, *levels = (int(level) if plain else _spread(level, size) for level in found)
    return (du, dv, _spread(vth, size), _spread(bias, size), *levels)
