"""The neuron update of the fast engine: `fixed.py` itself, compiled by numba.

`register_jitable` lets compiled code call the very functions of the contract, so nothing is stated twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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


def _each(columns: Any, place: Any) -> Any:
    """The entries of some arrays at a place, as a tuple; one number serves all places. Unrolled by the compiler."""
    return tuple(column if np.ndim(column) == 0 else column[place] for column in columns)


@overload(_each, jit_options={"forceinline": True})
def _typed_each(columns, place):  # type: ignore[no-untyped-def]
    first = columns[0]
    if len(columns) == 1 and isinstance(first, types.Array):
        return lambda columns, place: (columns[0][place],)
    if len(columns) == 1:
        return lambda columns, place: (columns[0],)
    if isinstance(first, types.Array):
        return lambda columns, place: (columns[0][place],) + _each(columns[1:], place)  # noqa: RUF005
    return lambda columns, place: (columns[0],) + _each(columns[1:], place)  # noqa: RUF005


def _put(columns: Any, place: Any, values: Any, added: bool) -> None:
    """Write values into arrays, or add them; not to those without entries. Unrolled by the compiler."""
    for column, value in zip(columns, values, strict=False):
        if column.size:
            column[place] = added * column[place] + value


@overload(_put, jit_options={"forceinline": True})
def _typed_put(columns, place, values, added):  # type: ignore[no-untyped-def]
    def put(column, place, value, added):  # type: ignore[no-untyped-def]
        if column.size > 0:
            if added:
                column[place] += value
            else:
                column[place] = value

    one: Any = register_jitable(forceinline=True)(put)
    if len(columns) == 1:
        return lambda columns, place, values, added: one(columns[0], place, values[0], added)

    def all_of_them(columns, place, values, added):  # type: ignore[no-untyped-def]
        one(columns[0], place, values[0], added)
        _put(columns[1:], place, values[1:], added)

    return all_of_them


def _any(values: Any) -> bool:
    """Whether one of some numbers is not zero. Unrolled by the compiler."""
    return any(value != 0 for value in values)


@overload(_any, jit_options={"forceinline": True})
def _typed_any(values):  # type: ignore[no-untyped-def]
    if len(values) == 0:
        return lambda values: False
    return lambda values: (values[0] != 0) | _any(values[1:])


def _compiled(step, contract, cache):  # type: ignore[no-untyped-def]
    """The kernel of a neuron model's step.

    `contract` only enters numba's cache key: its disk cache does not see that a file changed that it calls.
    """

    @njit(parallel=True, nogil=True, cache=cache)
    def _steps(a, parameters, flat_rule, state, s_out, outs, overflows, busy, labels, active):  # type: ignore[no-untyped-def]
        """T steps of every neuron of every sample.

        Arrays a, `s_out` and of each state `outs` are (B, T, N), of each state and spikes `state` before and after
        (B, N), of each state `overflows` (B,). An array without entries is not written.
        `active` (B, T, labels) counts the active neurons of every label; `labels` and `busy`, those with a bias, (N,).
        """
        _ = contract
        batch, steps, size = a.shape
        for b in prange(batch):
            rule = fixed.rule_from(flat_rule)  # inside: what runs in parallel can capture no nested tuple
            for t in range(steps):
                for n in range(size):
                    before = state[1][b, n]
                    now, left = step(_each(state, (b, n)), np.int64(a[b, t, n]), _each(parameters, n), rule)
                    _put(state, (b, n), now, False)
                    s_out[b, t, n] = now[-1]
                    if active.size and busy[n] | (before != 0) | (now[0] != 0) | _any(now[2:]):
                        active[b, t, labels[n]] += 1
                    _put(outs, (b, t, n), now, False)
                    _put(overflows, b, left, True)

    return _steps


def contract(step: Any) -> int:
    """A checksum of the files that a model's kernel is compiled from."""
    files = [Path(name) for name in (fixed.__file__, step.__code__.co_filename, __file__)]
    return zlib.crc32(b"".join(file.read_bytes() for file in files if file.is_file()) + step.__code__.co_code)


@cache
def _kernel(step: Any) -> Any:
    """Cached beside this file, else in the user's cache folder; not at all where numba can write to neither."""
    if step is not fixed.step:
        register_jitable(forceinline=True)(step)
    try:
        return _compiled(step, contract(step), cache=True)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # compiled again in every process, seconds
        return _compiled(step, contract(step), cache=False)  # type: ignore[no-untyped-call]


class Updated(NamedTuple):
    """What some steps gave: arrays (B, T, N) by state, how often each overflowed, active updates (B, T, labels)."""

    spikes: Array
    state: dict[str, Array]
    overflows: dict[str, int]
    active: Array


def update(
    neuron: IntNeuron,
    fires: bool,
    a: Array,
    state: Array | None = None,
    widths: fixed.Widths = fixed.LOIHI,
    want: Collection[str] | None = None,
    labels: Array | None = None,
) -> Updated:
    """Spikes, states, overflows and active updates (`base.active`) for the summed input `a` (B, T, N).

    Args:
        neuron: arrays of it have one entry or N.
        state: states and spikes of the step before, (states + 1, B, N), from `at_rest`; it is moved on. A sample's
            start if None.
        widths: formats of states and decays.
        want: states to record, all if None; the others come back without entries.
        labels: by which active updates are counted, int32 (N,); none are if None.
    """
    batch, steps, size = a.shape
    wanted = neuron.STATES if want is None else want
    spikes = np.empty(a.shape, np.int8 if neuron.max_spikes == 1 else np.int32)
    made = tuple(np.empty(a.shape if name in wanted else (0, 0, 0), np.int32) for name in neuron.STATES)
    overflows = tuple(np.zeros(batch, np.int64) for _ in neuron.STATES)
    state = at_rest(neuron, batch, size) if state is None else state
    rule = neuron.rule(fires, widths).flat
    labels = np.zeros(0, np.int32) if labels is None else labels
    active = np.zeros((batch, steps, int(labels.max(initial=-1)) + 1), np.int64)
    busy = np.ascontiguousarray(np.broadcast_to(np.asarray(neuron.bias) != 0, (size,)))
    outs = spikes, made, overflows, busy, labels, active
    _kernel(neuron.step)(a, _parameters(neuron, size), rule, tuple(state), *outs)
    counted = {name: int(x.sum()) for name, x in zip(neuron.STATES, overflows, strict=True)}
    return Updated(spikes, dict(zip(neuron.STATES, made, strict=True)), counted, active)


def at_rest(neuron: IntNeuron, batch: int, size: int) -> Array:
    """States and spikes at the start of a sample, int64 (states + 1, B, N)."""
    start = (*neuron.initial.values(), 0)
    return np.stack([np.broadcast_to(np.asarray(x, np.int64), (batch, size)) for x in start])


def flat(neuron: IntNeuron, shape: Shape) -> IntNeuron:
    """The neuron model over flattened neurons; what is one number for all stays one."""
    values = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
    spread: Any = {key: np.broadcast_to(x, shape).ravel() for key, x in values.items() if isinstance(x, np.ndarray)}
    return replace(neuron, **spread)


def _spread(x: Any, size: int) -> Array:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(x, np.int64), (size,)))


def _parameters(neuron: IntNeuron, size: int) -> tuple[Any, ...]:
    """Thresholds and biases as arrays; the others as numbers where all are, else as arrays all, so that two kernels
    serve all neurons of a model."""
    named = neuron.parameters
    always = ("vth", "bias")
    plain = all(np.ndim(level) == 0 for name, level in named.items() if name not in always)
    return tuple(int(level) if plain and name not in always else _spread(level, size) for name, level in named.items())
