"""Every rule of the contract against its one-line definition over unbounded integers, on everything that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnhw import fixed

TOP = 2**23


def dec(x: int, d: int, bits: int) -> int:
    kept = abs(x) * (2**bits - d) // 2**bits
    return kept if x > 0 else -kept


def overflowed(overflow: int, x: int, bits: int) -> int:
    if overflow == fixed.SATURATE:
        return max(1 - 2 ** (bits - 1), min(x, 2 ** (bits - 1) - 1))
    if overflow == fixed.WRAP:
        return (x + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    return x - 2**bits if x > 2 ** (bits - 1) else x + 2**bits if x <= -(2 ** (bits - 1)) else x


def held(overflow: int, x: Any, bits: int) -> Any:
    return fixed.held(x, fixed.width(bits, overflow))


def fires(v: int, vth: int, ge: int) -> bool:
    return v >= vth if ge else v > vth


def ints(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers of a range, often at its ends, at zero and where 24 bits end."""
    corners = (low, high, 0, 1, -1, 63, 64, -64, TOP, -TOP)
    edges = sorted({e + o for e in corners for o in (-1, 0, 1) if low <= e + o <= high})
    return st.one_of(st.sampled_from(edges), st.integers(low, high))


STATE = ints(-TOP + 1, TOP - 1)
CURRENT = ints(-TOP + 1, TOP)  # +2**23 survives the wrap
DECAY = ints(0, 4096)
BITS = st.sampled_from([12, 13])
ANY = ints(-(2**30), 2**30)


@dataclass(frozen=True)
class Rule:
    """A function of `fixed.py`, its definition, ranges of its arrays, and of its trailing scalars."""

    function: Callable[..., Any]
    definition: Callable[..., int]
    columns: tuple[st.SearchStrategy[int], ...]
    scalars: tuple[st.SearchStrategy[int], ...] = ()


RULES = {
    "decayed": Rule(fixed.decayed, dec, (CURRENT, DECAY), (BITS,)),
    **{
        f"held, {overflow}": Rule(
            partial(held, overflow), partial(overflowed, overflow), (ANY,), (st.sampled_from([24, 16, 20]),)
        )
        for overflow in (fixed.WRAP_ONCE, fixed.WRAP, fixed.SATURATE)
    },
    "shifted": Rule(fixed.shifted, lambda a, e: a * 2**e if e >= 0 else a // 2**-e, (STATE,), (ints(-8, 7),)),
    "current": Rule(
        fixed.current,
        lambda u, a, du, s, bits: dec(u, du, bits) + a * 2**s,
        (CURRENT, STATE, DECAY),
        (st.integers(0, 6), BITS),
    ),
    "membrane": Rule(
        fixed.membrane,
        lambda v, u, dv, bias, debt, bits: dec(v, dv, bits) + u + bias - debt,
        (STATE, CURRENT, DECAY, STATE, STATE),
        (BITS,),
    ),
    "spikes, one": Rule(
        fixed.spikes, lambda v, vth, ge, top: int(fires(v, vth, ge)), (STATE, STATE), (st.integers(0, 1), st.just(1))
    ),
    "spikes, many": Rule(
        fixed.spikes,
        lambda v, vth, ge, top: min(top, v // vth) if fires(v, vth, ge) else 0,
        (STATE, st.one_of(st.integers(1, 64), ints(1, TOP - 1))),
        (st.integers(0, 1), st.integers(2, 255)),
    ),
    "reset_zero": Rule(fixed.reset_zero, lambda v, s: 0 if s else v, (STATE, ints(0, 255))),
    "reset_subtract": Rule(fixed.reset_subtract, lambda v, s, vth: v - vth * s, (STATE, ints(0, 7), ints(0, TOP - 1))),
    "reset_to": Rule(fixed.reset_to, lambda v, s, r: r if s else v, (STATE, ints(0, 255)), (STATE,)),
    "floored": Rule(fixed.floored, max, (STATE,), (STATE,)),
}


def on_python(function: Callable[..., Any], columns: Sequence[Sequence[int]], scalars: Sequence[int]) -> list[int]:
    return [function(*row, *scalars) for row in zip(*columns, strict=True)]


def on_numpy64(function: Callable[..., Any], columns: Sequence[Sequence[int]], scalars: Sequence[int]) -> list[int]:
    return list(function(*(np.array(c, np.int64) for c in columns), *scalars).tolist())


def on_torch(function: Callable[..., Any], columns: Sequence[Sequence[int]], scalars: Sequence[int]) -> list[int]:
    return list(function(*(torch.tensor(c, dtype=torch.int64) for c in columns), *scalars).tolist())


CARRIERS = {"python": on_python, "int64": on_numpy64, "torch": on_torch}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
def test_rule_is_its_definition(name: str, carrier: str, data: st.DataObject) -> None:
    rule = RULES[name]
    rows = data.draw(st.lists(st.tuples(*rule.columns), min_size=1, max_size=16))
    scalars = [data.draw(s) for s in rule.scalars]
    found = CARRIERS[carrier](rule.function, list(zip(*rows, strict=True)), scalars)
    assert found == [rule.definition(*row, *scalars) for row in rows]


@given(x=CURRENT, d=DECAY)
def test_decay_is_odd_and_never_grows(x: int, d: int) -> None:
    assert fixed.decayed(-x, d, 12) == -fixed.decayed(x, d, 12)
    assert abs(fixed.decayed(x, d, 12)) <= abs(x)


@given(x=ints(1, TOP), d=ints(1, 4096))
def test_decay_reaches_zero(x: int, d: int) -> None:
    """Rounding towards zero: at least one is lost in each step, so nothing lives for ever."""
    assert fixed.decayed(x, d, 12) < x


@given(x=ints(-TOP - 2**24 + 1, TOP + 2**24))
def test_one_turn_of_the_wrap_ends_in_range(x: int) -> None:
    wrapped = fixed.held(x, fixed.LOIHI.u)
    assert -TOP < wrapped <= TOP
    assert (wrapped - x) % 2**24 == 0
    assert fixed.held(wrapped, fixed.LOIHI.u) == wrapped


@given(x=ANY)
def test_saturation_is_idempotent_and_odd(x: int) -> None:
    saturated = partial(fixed.held, width=fixed.LOIHI.v)
    assert saturated(saturated(x)) == saturated(x)
    assert saturated(-x) == -saturated(x)


@given(v=STATE, vth=st.integers(1, 2**17))
def test_soft_reset_of_all_spikes_leaves_less_than_a_threshold(v: int, vth: int) -> None:
    s = fixed.spikes(v, vth, 1, TOP)
    left = fixed.reset_subtract(v, s, vth)
    assert (0 <= left < vth) if v >= 0 else left == v
