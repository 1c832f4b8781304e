"""The closed form equals the events to the picosecond where it answers, and answers where traffic is disjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnhw.chip.disjoint import disjoint_time
from snnhw.chip.event import simulated, state_of
from tests.unit.chip.test_event import CHIP, at, random_step, step
from tests.unit.chip.test_event import mesh_of as mesh_under


def pairs(seed: int) -> Any:
    """Pairs of cores in rows of their own, one sends to the other, or to itself."""
    rng = np.random.default_rng(seed)
    messages = []
    for pair in range(4):
        unit = int(rng.choice([300, 3000]))
        for _ in range(int(rng.integers(0, 25))):
            to = 2 * pair + (rng.random() < 0.8)
            messages.append((2 * pair, int(rng.integers(1, 9)) * unit, int(to), int(rng.integers(0, 12_000))))
    return step(8, messages, rng.integers(0, 9000, 8), rng.integers(0, 20_000, 8))


def test_disjoint_traffic_has_a_closed_form() -> None:
    mesh = at(*(4 * y + 16 * x for y in range(4) for x in (0, 3)), chip=CHIP.changed({"chip.link_buffer": 16}))
    found = 0
    for seed in range(200):
        trace = pairs(seed)
        closed = int(disjoint_time(trace, mesh))
        found += closed >= 0
        assert closed in (-1, simulated(trace, mesh, state_of(mesh))), seed
    assert 100 < found < 200


@pytest.mark.parametrize("seed", range(60))
def test_of_any_traffic_it_is_right_or_silent(seed: int) -> None:
    trace, cores, chip = random_step(seed)
    mesh = mesh_under(cores, chip)
    assert int(disjoint_time(trace, mesh)) in (-1, simulated(trace, mesh, state_of(mesh)))


def test_whoever_shares_has_none() -> None:
    tiles = at(0, 1, 4, 5)
    assert disjoint_time(step(4, [(0, 900, 2, 0), (1, 900, 3, 0)]), tiles) == -1  # one link
    assert disjoint_time(step(4, [(0, 900, 1, 0), (2, 900, 1, 0)]), tiles) == -1  # one receiver
    assert disjoint_time(step(4, [(0, 900, 2, 0)], flits=2), tiles) == -1
    assert disjoint_time(step(4, [(0, 900, 2, 5)], host=3), tiles) == 900 + CHIP.time.hop_ns + 5
