"""The corners of the contract, as numbers a reader can check by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from snnhw import fixed
from snnhw.engines import narrow

TOP = 2**23
CARRIERS = {
    "python": int,
    "numpy64": lambda x: np.array([x], np.int64),
    "torch": lambda x: torch.tensor([x], dtype=torch.int64),
}


@pytest.fixture(params=CARRIERS)
def of(request: pytest.FixtureRequest) -> Any:
    """Makes a number of each kind the contract runs on."""
    return CARRIERS[request.param]


def value(result: Any) -> int:
    return result if isinstance(result, int) else int(result.item())


def test_state_is_24_bit() -> None:
    assert fixed.STATE_MAX == 8_388_607
    assert fixed.DECAY_ONE == 4096


@pytest.mark.parametrize(
    ("x", "d", "expected"),
    [
        (1000, 0, 1000),  # no leak
        (1000, 4096, 0),  # no memory
        (-1000, 4096, 0),
        (1, 1, 0),  # towards zero, from above
        (-1, 1, 0),  # and from below: an arithmetic shift would give -1
        (4097, 1, 4095),
        (-4097, 1, -4095),
        (3, 2048, 1),
        (-3, 2048, -1),
        (TOP, 1, 8_386_560),  # the product needs 36 bits
        (-TOP, 1, -8_386_560),
        (TOP - 1, 4095, 2047),
    ],
)
def test_decay(of: Any, x: int, d: int, expected: int) -> None:
    assert value(fixed.decayed(of(x), d, 12)) == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0, 0),
        (TOP - 1, TOP - 1),
        (TOP, TOP),  # survives: Lava's rule, not two's complement
        (TOP + 1, -TOP + 1),
        (-TOP + 1, -TOP + 1),
        (-TOP, TOP),
        (-TOP - 1, TOP - 1),
        (2**24, 0),
        (2**24 + TOP + 1, TOP + 1),  # one turn only
        (-(2**24), 0),
    ],
)
def test_wrap(of: Any, x: int, expected: int) -> None:
    assert value(fixed.held(of(x), fixed.LOIHI.u)) == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0, 0),
        (TOP - 1, TOP - 1),
        (TOP, TOP - 1),
        (1 - TOP, 1 - TOP),
        (-TOP, 1 - TOP),
        (2**30, TOP - 1),
        (-(2**30), 1 - TOP),
    ],
)
def test_saturation_is_symmetric(of: Any, x: int, expected: int) -> None:
    assert value(fixed.held(of(x), fixed.LOIHI.v)) == expected


@pytest.mark.parametrize(
    ("total", "exponent", "expected"), [(5, 0, 5), (5, 3, 40), (-5, 3, -40), (5, -1, 2), (-5, -1, -3), (-1, -8, -1)]
)
def test_weight_exponent_floors(of: Any, total: int, exponent: int, expected: int) -> None:
    assert value(fixed.shifted(of(total), exponent)) == expected


def test_shifting_the_sum_is_not_the_sum_of_shifts() -> None:
    assert fixed.shifted(1 + 1, -1) != fixed.shifted(1, -1) + fixed.shifted(1, -1)


def test_current_and_membrane(of: Any) -> None:
    assert value(fixed.current(of(4096), of(-3), 2048, 6, 12)) == 2048 - 192
    assert value(fixed.current(of(123), of(7), 4096, 6, 12)) == 448
    assert value(fixed.membrane(of(-4096), of(100), 1024, 7, 0, 12)) == -3072 + 107
    assert value(fixed.membrane(of(500), of(100), 0, 0, 450, 12)) == 150


@pytest.mark.parametrize(
    ("v", "vth", "greater_equal", "top", "expected"),
    [
        (64, 64, 0, 1, 0),
        (64, 64, 1, 1, 1),
        (65, 64, 0, 1, 1),
        (1000, 64, 1, 1, 1),
        (0, 0, 1, 1, 1),
        (-5, -4, 0, 1, 0),
        (-4, -5, 0, 1, 1),
        (64, 64, 0, 8, 0),
        (64, 64, 1, 8, 1),
        (127, 64, 1, 8, 1),
        (128, 64, 0, 8, 2),
        (1000, 64, 1, 8, 8),
        (-1000, 64, 1, 8, 0),
    ],
)
def test_spikes(of: Any, v: int, vth: int, greater_equal: int, top: int, expected: int) -> None:
    assert value(fixed.spikes(of(v), of(vth), greater_equal, top)) == expected


def test_resets(of: Any) -> None:
    assert value(fixed.reset_zero(of(70), of(1))) == 0
    assert value(fixed.reset_zero(of(70), of(0))) == 70
    assert value(fixed.reset_zero(of(70), of(3))) == 0
    assert value(fixed.reset_subtract(of(200), of(3), of(64))) == 8
    assert value(fixed.reset_to(of(70), of(2), -9)) == -9
    assert value(fixed.reset_to(of(70), of(0), -9)) == 70


def test_floor(of: Any) -> None:
    assert value(fixed.floored(of(-70), -64)) == -64
    assert value(fixed.floored(of(-64), -64)) == -64
    assert value(fixed.floored(of(70), -64)) == 70


@pytest.mark.parametrize(
    ("overflow", "x", "expected"),
    [
        (fixed.WRAP_ONCE, 320000, 254464),  # one turn of 2**16 is not enough: bounds must forbid it
        (fixed.WRAP_ONCE, 1 << 15, 1 << 15),
        (fixed.WRAP_ONCE, (3 << 15) - 1, (1 << 15) - 1),
        (fixed.WRAP, 320000, -7680),
        (fixed.WRAP, 1 << 15, -(1 << 15)),
        (fixed.WRAP, -(1 << 15), -(1 << 15)),
        (fixed.WRAP, -(1 << 15) - 1, (1 << 15) - 1),
        (fixed.SATURATE, 320000, 32767),
        (fixed.SATURATE, -32768, -32767),
    ],
)
def test_overflow_of_sixteen_bits(of: Any, overflow: int, x: int, expected: int) -> None:
    assert value(fixed.held(of(x), fixed.width(16, overflow))) == expected


def test_saturation_ends_where_the_target_says() -> None:
    low = fixed.Width(16, fixed.SATURATE, -32768, 32767)
    assert fixed.held(-40000, low) == -32768
    assert fixed.ends(low) == (-32768, 32767)


@pytest.mark.parametrize("overflow", [fixed.WRAP_ONCE, fixed.WRAP, fixed.SATURATE])
@pytest.mark.parametrize("bits", [8, 24])
def test_ends_are_kept_and_their_neighbours_are_not(bits: int, overflow: int) -> None:
    width = fixed.width(bits, overflow)
    low, high = fixed.ends(width)
    assert [fixed.held(x, width) == x for x in (low - 1, low, high, high + 1)] == [False, True, True, False]


def test_decay_of_other_bits(of: Any) -> None:
    assert value(fixed.decayed(of(-1000), 64, 8)) == -750
    assert value(fixed.decayed(of(1000), 256, 8)) == 0


def test_a_rule_is_its_numbers_in_a_row() -> None:
    rule = fixed.Rule(3, 1, 7, fixed.RESET_TO, 0, 1, 1, fixed.Widths(fixed.width(16, 1), fixed.width(20, 2), 8))
    assert fixed.rule_from(rule.flat) == rule


@pytest.mark.parametrize("decay", [0, 1, 5, 700, 2048, 3277, 4095, 4096])
def test_narrow_decay_is_the_decay(decay: int) -> None:
    """Over the whole range that it states, in numbers of 32 bits."""
    top = (1 << 31) - 1
    rng = np.random.default_rng(decay)
    wide = np.concatenate([np.arange(-5000, 5000), rng.integers(-top, top, 20_000), [top, -top, 1 << 23, -(1 << 30)]])
    expected = fixed.decayed(wide, decay, 12)
    np.testing.assert_array_equal(fixed.decayed_narrow(wide, decay, 12), expected)
    found = narrow.decayed(wide.astype(np.int32), decay, 12)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rule", [(fixed.RESET_ZERO, 0), (fixed.RESET_SUBTRACT, 0), (fixed.RESET_SUBTRACT, 1), (2, 0)])
@pytest.mark.parametrize("forgets", [True, False])
def test_narrow_steps_are_the_steps_up_to_the_bound(rule: tuple[int, int], forgets: bool) -> None:
    """At the largest input and the largest parameters that `narrow_reach` lets through, from the ends of all states."""
    rng = np.random.default_rng(3)
    reset, late = rule
    rules = fixed.Rule(6, 1, 1, reset, late, 1, 1, fixed.LOIHI)
    sizes = fixed.Parameters(4096, 4096, 1 << 26, 1 << 28, 1 << 27, 1 << 27)
    most = max(n for n in range(1, 1 << 26, 1021) if fixed.narrow_reach(sizes, rules, forgets, n))
    reach = fixed.narrow_reach(sizes, rules, forgets, most)
    assert reach is not None
    assert fixed.narrow_reach(sizes, rules, forgets, most * 2) is None
    signs = [np.array([-1, 1, 0])[rng.integers(0, 3, 4000)] for _ in range(7)]
    u, v, a, vth, bias, to, low = (sign * end for sign, end in zip(signs, (*reach, most, *sizes[2:]), strict=True))
    du = 4096 if forgets else rng.choice([0, 1, 4000], 4000)
    given = (u, v, np.abs(signs[0])), a, (du, rng.choice([0, 9], 4000), np.abs(vth), bias, to, low)
    wide, left = fixed.step(*given, rules)
    short = tuple(tuple(np.asarray(x, np.int32) for x in part) if isinstance(part, tuple) else part for part in given)
    small, cut = narrow.step(short[0], np.asarray(a, np.int32), short[2], rules)
    for ours, theirs in zip((*wide, *left), (*small, *cut), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (np.abs(wide[0]) <= reach[0]).all()
    assert (np.abs(wide[1]) <= reach[1]).all()
