"""The neuron update of the fast engine: `fixed.py` itself, compiled by numba.

`register_jitable` lets compiled code call the very functions of the contract, so nothing is stated twice. There is one
kernel. Compiled for any rule it computes in 64 bits; where `fixed.narrow_reach` proves that 32 are enough, it is
compiled for the rule at hand, so that a vector of neurons is updated at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from snnhw import fixed
from snnhw.engines import narrow
from snnhw.engines.compiled import compiled
from snnhw.engines.layout import inner, switched_off
from snnhw.limits import FLOAT32_EXACT
from snnhw.network import Array, IntNeuron, Reset, Shape

BLOCK = 2048
"""Neurons that take all steps before the next ones do: their states stay in the nearest cache."""
SHARE = 1 << 17
"""Neuron-steps that are worth a thread of their own."""

for _rule in (fixed.rule_from, *narrow.RULES, *narrow.NARROW):
    register_jitable(forceinline=True)(_rule)


def _given(lines: list[str]) -> str:
    return f"    return ({''.join(f'{line}, ' for line in lines)})"


def _done(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _either(lines: list[str]) -> str:
    return f"    return {' | '.join(lines)}"


def _unrolled(arguments: str, line: Callable[..., str], body: Callable[[list[str]], str] = _given) -> Any:
    """A function of tuples for compiled code, written out entry by entry.

    Args:
        arguments: names; as many entries as the first tuple has are written.
        line: (place, types of the arguments) -> what is done with the entries there.
        body: of these lines: a tuple of them, one after the other, or whether one is true.
    """

    def typed(*kinds: Any) -> Any:
        space: dict[str, Any] = {"np": np}
        exec(f"def unrolled({arguments}):\n{body([line(i, *kinds) for i in range(len(kinds[0]))])}", space)
        return space["unrolled"]

    space: dict[str, Any] = {"typed": typed}
    exec(f"def stub({arguments}): ...\ndef kinds({arguments}): return typed({arguments})", space)
    overload(space["stub"], jit_options={"forceinline": True})(space["kinds"])
    return space["stub"]


_each = _unrolled("x, at", lambda i, x, _: f"x[{i}]" + "[at]" * isinstance(x[i], types.Array))
_put = _unrolled("x, at, values", lambda i, *_: f"x[{i}][at] = values[{i}]", _done)
_nothing = _unrolled("x", lambda i, _: "np.int32(0)")
_more = _unrolled("counts, left", lambda i, *_: f"np.int32(counts[{i}] + left[{i}])")
_add = _unrolled("x, at, counts", lambda i, *_: f"x[{i}][at] += counts[{i}]", _done)
_keep = _unrolled(
    "x, b, t, first, rows",
    lambda i, *_: f"if x[{i}].size: x[{i}][b, t, first : first + rows[{i}].size] = rows[{i}]",
    _done,
)
_known = _unrolled("given, masks, values", lambda i, *_: f"given[{i}] & masks[{i}] | values[{i}]")
_acts = _unrolled("x, n", lambda i, *_: f"(x[{i}][n] != 0)", _either)


def _compiled(step: Any, known: tuple[int | None, ...], contract: int) -> Any:
    """The kernel of a neuron model's step.

    `contract` only enters numba's cache key: its disk cache does not see that a file changed that it calls.

    Args:
        known: the flat rule, then du and dv, where the kernel is compiled for them; None for what each call says.
    """
    number = np.int32 if step is narrow.step else np.int64
    masks = tuple(-1 if number is None else 0 for number in known)
    values = tuple(number or 0 for number in known)
    rule_masks, rule_values, decay_masks, decay_values = masks[:-2], values[:-2], masks[-2:], values[-2:]

    @compiled()
    def _steps(a, lift, parameters, flat_rule, state, s_out, outs, overflows, busy, labels, active):  # type: ignore[no-untyped-def]
        """T steps of every neuron of every sample.

        Arrays a (B, T or 1, N), `s_out` and of each state `outs` (B, T, N), of each state and spikes `state` before and
        after (B, N), of each state `overflows` (B,). `outs` without entries are not written.
        `lift` stands for the rule's act_shift. `active` (B, T, labels) counts the active neurons of every label;
        `labels` and `busy`, those with a bias, (N,).
        """
        _ = contract
        batch, steps, size = s_out.shape
        before = np.zeros(BLOCK if active.size else 0, number)
        for b in range(batch):
            for first in range(0, size, BLOCK):
                block = slice(first, min(first + BLOCK, size))
                rows, numbers = _each(state, (b, block)), _each(parameters, block)
                for t in range(steps):
                    arrived, fired = a[b, t % a.shape[1], block], s_out[b, t, block]
                    if active.size:
                        before[: fired.size] = rows[1]
                    counts = _nothing(overflows)
                    for n in range(fired.size):
                        rule = fixed.rule_from(_known(flat_rule, rule_masks, rule_values))
                        own = _each(numbers, n)
                        own = _known(own[:2], decay_masks, decay_values) + own[2:]
                        now, left = step(_each(rows, n), number(number(arrived[n]) * lift), own, rule)
                        _put(rows, n, now)
                        fired[n] = now[-1]
                        counts = _more(counts, left)
                    _add(overflows, b, counts)
                    _keep(outs, b, t, first, rows[:-1])
                    if active.size:  # v counts as it was before the step
                        then = rows[:1] + (before,) + rows[2:]  # noqa: RUF005
                        for n in range(fired.size):
                            if busy[first + n] | _acts(then, n):
                                active[b, t, labels[first + n]] += 1

    return _steps


def contract(step: Any) -> int:
    """A checksum of the files that a model's kernel is compiled from."""
    files = [Path(name) for name in (fixed.__file__, narrow.__file__, step.__code__.co_filename, __file__)]
    return zlib.crc32(b"".join(file.read_bytes() for file in files if file.is_file()) + step.__code__.co_code)


@cache
def _kernel(step: Any, known: tuple[int | None, ...]) -> Any:
    """Compiled once a process, and kept on disk as `compiled` says."""
    if step not in (fixed.step, narrow.step):
        register_jitable(forceinline=True)(step)
    return _compiled(step, known, contract(step))


class Room(NamedTuple):
    """Where a kernel writes what some steps of B samples give.

    Args:
        spikes: (B, k, N).
        state: of each state (B, k, N), without entries where nobody needs it.
        overflows: of each state how often it left its range, (B,).
        active: active updates by label (`base.active`), (B, k, labels).
    """

    spikes: Array
    state: tuple[Array, ...]
    overflows: tuple[Array, ...]
    active: Array

    def rows(self, part: slice) -> Room:
        """That of some samples."""
        state, overflows = (tuple(x[part] for x in each) for each in (self.state, self.overflows))
        return Room(self.spikes[part], state, overflows, self.active[part])

    def put(self, t: int, step: Room) -> None:
        """Take what one step gave, as that of step t."""
        self.spikes[:, t], self.active[:, t] = step.spikes[:, 0], step.active[:, 0]
        for all_of_them, one in zip(self.state, step.state, strict=True):
            all_of_them[:, t : t + 1] = one
        for total, more in zip(self.overflows, step.overflows, strict=True):
            total += more


class Neurons:
    """The neurons of one population, flat in the engine's order, and the kernel that serves them.

    Attributes:
        why: why their states take 64 bits; empty where 32 are enough.
        reach: where they are enough, largest magnitudes of u and v between steps.
    """

    def __init__(
        self,
        neuron: IntNeuron,
        fires: bool,
        size: int,
        widths: fixed.Widths = fixed.LOIHI,
        largest: int | None = None,
        exponent: int = 0,
    ) -> None:
        """
        Args:
            neuron: arrays of it have one entry or N.
            widths: formats of states and decays.
            largest: bound of |a| in `update`; None where it is not known.
            exponent: what is summed is a * 2**exponent.
        """
        self.neuron, self.size = neuron, size
        rule = neuron.rule(fires, widths)
        self.lift, self.flat_rule = 1 << (rule.act_shift + exponent), rule._replace(act_shift=0).flat
        self.fired = np.dtype(np.int8 if neuron.max_spikes < 128 else np.int32)
        self.busy = np.array(np.broadcast_to(np.asarray(neuron.bias) != 0, (size,)))
        reach = _reach(neuron, rule, largest, exponent)
        self.why = reach if isinstance(reach, str) else ""
        self.reach = None if isinstance(reach, str) else reach
        self.number = np.dtype(np.int64 if self.why else np.int32)
        levels = neuron.parameters if self.why or neuron.reset is Reset.V_RESET else neuron.parameters | {"v_reset": 0}
        self.parameters = _parameters(levels, size, self.number)
        self.kernel = _kernel(neuron.step, _OPEN) if self.why else _kernel(narrow.step, _known_of(neuron, rule))

    def rest(self, batch: int) -> tuple[Array, ...]:
        """States and spikes at the start of a sample, each (B, N)."""
        start = [np.broadcast_to(np.asarray(x, self.number), (batch, self.size)) for x in self.neuron.initial.values()]
        return (*(np.array(x) for x in start), np.zeros((batch, self.size), self.fired))

    def room(self, batch: int, steps: int, want: Collection[str] = (), labels: int = 0) -> Room:
        """For so many samples and steps, the states that are wanted, and active updates of so many labels."""
        shape = batch, steps, self.size
        names = self.neuron.STATES
        state = tuple(np.empty(shape if name in want else (batch, 0, 0), np.int32) for name in names)
        overflows = tuple(np.zeros(batch, np.int64) for _ in names)
        return Room(np.empty(shape, self.fired), state, overflows, np.zeros((batch, steps, labels), np.int64))

    def update(self, a: Array, state: tuple[Array, ...], room: Room, labels: Array | None = None) -> None:
        """Move the states on by the summed input, and write into the room what that gives.

        Args:
            a: whole numbers (B, k or 1, N), of any type; one step stands for all.
            state: from `rest`.
            labels: by which active updates are counted, int32 (N,).
        """
        a = np.require(a, np.int64 if self.why else np.float32, ["C", "W"])  # numba compiles again for other arrays
        labels = np.zeros(0, np.int32) if labels is None else labels

        def some(part: slice) -> None:
            spikes, made, overflows, active = room.rows(part)
            own = tuple(x[part] for x in state)
            given = a[part], self.lift, self.parameters, self.flat_rule, own
            self.kernel(*given, spikes, made, overflows, self.busy, labels, active)

        shares = max(1, min(numba.get_num_threads(), len(a), room.spikes.size // SHARE))
        parts = [slice(first, end) for first, end in pairwise(len(a) * i // shares for i in range(shares + 1))]
        list(_threads().map(some, parts) if shares > 1 else map(some, parts))


_OPEN: tuple[None, ...] = (None,) * (len(IntNeuron(0, np.array(0), np.array(0), 0).rule(True, fixed.LOIHI).flat) + 2)
"""Nothing is known when the kernel is compiled."""


def _known_of(neuron: IntNeuron, rule: fixed.Rule) -> tuple[int | None, ...]:
    """What a narrow kernel is compiled for, where that makes it faster; a reset to zero is one to a value."""
    reset = fixed.RESET_SUBTRACT if rule.reset == fixed.RESET_SUBTRACT or not rule.fires else fixed.RESET_TO
    asked = dict(rule._replace(act_shift=0, reset=reset)._asdict(), greater_equal=None, floor=None)
    forgets = (np.asarray(neuron.du) == 1 << rule.widths.decay_bits).all()
    keeps = forgets and not np.any(neuron.dv)
    decays = (1 << rule.widths.decay_bits if forgets else None, 0 if keeps else None)
    *own, widths = asked.values()
    return (*own, *widths.u, *widths.v, widths.decay_bits, *decays)


def _reach(neuron: IntNeuron, rule: fixed.Rule, largest: int | None, exponent: int) -> tuple[int, int] | str:
    """What u and v can be between steps if 32 bits are enough; else why not."""
    if reason := switched_off():
        return reason
    if neuron.step is not fixed.step:
        return f"a step of its own ({neuron.MODEL})"
    if rule.widths != fixed.LOIHI:
        return "formats of states that are not Loihi's"
    if neuron.max_spikes != 1:
        return "several spikes a step"
    sizes = {name: _size(x) for name, x in neuron.parameters.items()}
    bounds = fixed.Parameters(**sizes)._replace(v_reset=max(sizes["v_reset"], _size(neuron.v_init)))
    forgets = bool((np.asarray(neuron.du) == 1 << rule.widths.decay_bits).all())
    if largest is None or largest >= FLOAT32_EXACT:
        return "sums beyond 24 bits"
    return fixed.narrow_reach(bounds, rule, forgets, largest << exponent) or "numbers beyond 32 bits"


def _size(x: Any) -> int:
    return int(np.abs(np.asarray(x, np.int64)).max(initial=0))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.get_num_threads(), "snnhw-neurons")


class Updated(NamedTuple):
    """What some steps gave: arrays (B, T, N) by state, how often each overflowed, active updates (B, T, labels)."""

    spikes: Array
    state: dict[str, Array]
    overflows: dict[str, int]
    active: Array


def update(
    neuron: IntNeuron, fires: bool, a: Array, want: Collection[str] | None = None, labels: Array | None = None
) -> Updated:
    """A sample's steps of the summed input a (B, T, N) from its start.

    Args:
        want: states to record, all if None; the others come back without entries.
        labels: by which active updates are counted, int32 (N,).
    """
    names = neuron.STATES
    neurons = Neurons(neuron, fires, a.shape[2], largest=_size(a))
    count = 0 if labels is None else int(labels.max(initial=-1)) + 1
    room = neurons.room(a.shape[0], a.shape[1], names if want is None else want, count)
    neurons.update(a, neurons.rest(len(a)), room, labels)
    counted = {name: int(x.sum()) for name, x in zip(names, room.overflows, strict=True)}
    return Updated(room.spikes, dict(zip(names, room.state, strict=True)), counted, room.active)


def flat(neuron: IntNeuron, shape: Shape) -> IntNeuron:
    """The neuron model over neurons in the engine's order; what is one number for all stays one."""
    values = {f.name: getattr(neuron, f.name) for f in fields(neuron)}
    arrays = {key: np.broadcast_to(x, shape) for key, x in values.items() if isinstance(x, np.ndarray)}
    spread: Any = {key: inner(x, shape) for key, x in arrays.items()}
    return replace(neuron, **spread)


def _parameters(named: Mapping[str, Any], size: int, number: Any) -> tuple[Any, ...]:
    """Thresholds and biases as arrays; the others as numbers where all are, else as arrays all, so that two kernels
    serve all neurons of a model."""
    plain = all(np.ndim(level) == 0 for name, level in named.items() if name not in ("vth", "bias"))
    return tuple(
        int(level)
        if plain and name not in ("vth", "bias")
        else np.array(np.broadcast_to(np.asarray(level, number), (size,)))
        for name, level in named.items()
    )
