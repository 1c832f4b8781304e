"""Event time: hand cases to the picosecond, a second implementation on random traces, and its bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snnhw.chip.event import Mesh, Step, mesh_of, simulated, state_of, step_time
from snnhw.machine import load_target
from snnhw.mapping.route import tile
from tests.unit.chip.naive import naive
from tests.unit.mapping.toys import toy

CHIP = toy("loihi2", chip__link_buffer=2, time__hop_ew=4.1, time__hop_ns=6.5, time__link_occupancy=0.29)


def step(cores: int, messages: list[tuple[int, int, int, int]], rest: Any = 0, host: Any = 0, flits: int = 1) -> Step:
    """Messages (from, gap, to, work), sorted by sender."""
    counts = np.bincount([m[0] for m in messages], minlength=cores)
    first = np.concatenate([[0], np.cumsum(counts)])
    gap, to, work = (np.array([m[i] for m in messages], np.int64) for i in (1, 2, 3))
    full = (np.broadcast_to(np.asarray(x, np.int64), cores).copy() for x in (rest, host))
    return Step(first, gap, to, work, np.full(len(messages), flits, np.int64), *full)


def at(*cores: int, chip: Any = CHIP) -> Mesh:
    return mesh_of(np.array(cores), chip)


def lower_bound(s: Step) -> int:
    """Every core's work one after another: the analytic model."""
    found = [0]
    for c in range(len(s.rest)):
        mine = slice(s.first[c], s.first[c + 1])
        found += [int(s.gap[mine].sum() + s.rest[c]), int(s.host[c] + s.work[s.to == c].sum())]
    return max(found)


def test_one_core_alone() -> None:
    """It generates for 300 ps, and receives what it sent to itself without a hop."""
    assert step_time(step(1, [(0, 100, 0, 50), (0, 100, 0, 500)], rest=100), at(0)) == 100 + 100 + 500
    assert step_time(step(1, [], rest=700, host=900), at(0)) == 900


def test_a_lone_message_pays_its_hops() -> None:
    """From tile (0, 0) to tile (2, 1): two hops east and one north; in three flits the last is two occupancies late on
    each link."""
    mesh = at(0, 2 * 16 + 4)
    lone = [(0, 1000, 1, 160)]
    assert step_time(step(2, lone), mesh) == 1000 + 2 * 4100 + 6500 + 160
    assert step_time(step(2, lone, flits=3), mesh) == 1000 + 2 * 4100 + 6500 + 3 * 2 * 290 + 160


def test_a_border_costs_more() -> None:
    """From the last column of chip 0 to the first of chip 1."""
    assert step_time(step(2, [(0, 0, 1, 0)]), at(112, 128)) == 4100 + CHIP.time.border
    assert CHIP.time.border > 0


def test_two_messages_contend_for_a_link() -> None:
    """Cores 0 and 1 of one tile send at once to two cores of the next: the second leaves 290 ps later."""
    found = step_time(step(4, [(0, 100, 2, 0), (1, 100, 3, 0)]), at(0, 1, 4, 5))
    assert found == 100 + 290 + 6500


def test_a_full_buffer_blocks_the_sender() -> None:
    """Depth 1 in one tile: one message is served, one in the buffer, one in the FIFO; the fourth waits until the second
    is served, and so does all that core 0 has still to do."""
    chip = toy("loihi2", chip__link_buffer=1)
    messages = [(0, 10, 1, 1000)] * 4
    found = step_time(step(2, messages, rest=[2500, 0]), at(0, 1, chip=chip))
    taken = 10 + 1000  # the first is served from 10 on: then the second leaves the buffer, the third enters it
    assert found == max(taken + 2500, 10 + 4 * 1000)
    free = step_time(step(2, messages, rest=[2500, 0]), at(0, 1, chip=toy("loihi2", chip__link_buffer=9)))
    assert free == 10 + 4 * 1000


def test_a_chain_of_blocked_heads() -> None:
    """Core 0's message to idle core 3 stands behind two for busy core 2: depth 1 holds it back."""
    chip = toy("loihi2", chip__link_buffer=1, time__hop_ew=4, time__hop_ns=6, time__link_occupancy=0.25)
    messages = [(0, 0, 2, 50_000), (0, 0, 2, 50_000), (0, 0, 2, 50_000), (0, 0, 3, 1)]
    blocked = step_time(step(4, messages), at(0, 1, 4, 8, chip=chip))
    assert blocked == 6_000 + 3 * 50_000
    late = step(4, [*messages[:3], (0, 0, 3, 90_000)])
    assert step_time(late, at(0, 1, 4, 8, chip=chip)) > 6_000 + 50_000 + 90_000


def random_step(seed: int) -> tuple[Step, np.ndarray, Any]:
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 5))
    places = CHIP.chip.model_copy(
        update={
            "link_buffer": depth, "networks": int(rng.integers(1, 4)), "bypass_hops": int(rng.choice([1, 2, 5])),
        }
    )  # fmt: skip
    time = CHIP.time.model_copy(
        update={
            "hop_ew": 1000 * int(rng.integers(0, 5)), "hop_ns": 1000 * int(rng.integers(1, 7)),
            "link_occupancy": 1000 * int(rng.integers(0, 3)), "bypass_hop": 1000 * int(rng.integers(0, 2)),
        }
    )  # fmt: skip
    chip = CHIP.model_copy(update={"chip": places, "time": time})
    cores = np.sort(rng.choice(np.r_[0:24, 112:140], int(rng.integers(1, 12)), replace=False))
    n, few = len(cores), int(rng.integers(1, 4))
    count = int(rng.integers(0, 60))
    sources = np.sort(rng.integers(0, n, count))
    to = rng.integers(0, min(n, few) if rng.random() < 0.5 else n, count)
    unit = int(rng.choice([1, 1000]))
    gaps, works = rng.integers(0, 4, count) * unit, rng.integers(0, 30, count) * unit
    made = step(
        n, list(zip(sources, gaps, to, works, strict=True)), rng.integers(0, 9, n) * unit, rng.integers(0, 20, n) * unit
    )
    return made._replace(flits=rng.integers(1, 4, count)), cores, chip


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(200, 1000, 200))])
def test_a_second_implementation_agrees_on_random_traces(first: int) -> None:
    longer = 0
    for seed in range(first, first + 200):
        trace, cores, chip = random_step(seed)
        x, y = tile(cores, chip)
        place = list(zip(x.tolist(), y.tolist(), strict=True))
        width, time = chip.chip.mesh[0], chip.time
        delay = Delays(width, time.hop_ew, time.hop_ns, time.border)
        mesh = mesh_of(cores, chip)
        found = int(simulated(trace, mesh, state_of(mesh)))
        more = chip.chip.networks, chip.chip.bypass_hops, time.bypass_hop
        assert found == naive(trace, place, delay, time.link_occupancy, chip.chip.link_buffer, *more), seed
        assert found >= lower_bound(trace)
        longer += found > lower_bound(trace)
    assert longer > 40


class Delays(dict[Any, int]):
    def __init__(self, width: int, ew: int, ns: int, border: int) -> None:
        self.width, self.ew, self.ns, self.border = width, ew, ns, border

    def __missing__(self, link: Any) -> int:
        (x, _), (to, _) = link
        return self.ns if x == to else self.ew + self.border * (x // self.width != to // self.width)


def test_disjoint_routes_take_the_closed_form() -> None:
    """Pairs of cores in rows of their own: hops, and what is generated and received one after another."""
    chip = load_target("loihi2")
    rng = np.random.default_rng(0)
    cores = np.array([4 * y + 16 * x for y in range(4) for x in (0, 3)])
    messages, longest = [], 0
    for pair in range(4):
        gaps, works = rng.integers(3000, 9000, 20), rng.integers(100, 3000, 20)
        messages += [(2 * pair, int(g), 2 * pair + 1, int(w)) for g, w in zip(gaps, works, strict=True)]
        end = 0
        for sent, work in zip(np.cumsum(gaps), works, strict=True):
            end = max(end, int(sent) + 3 * chip.time.hop_ew) + int(work)
        longest = max(longest, end)
    assert step_time(step(8, messages), mesh_of(cores, chip)) == longest


def test_a_state_may_be_used_again() -> None:
    trace, cores, chip = random_step(7)
    mesh = mesh_of(cores, chip)
    state = state_of(mesh)
    assert len({int(simulated(trace, mesh, state)) for _ in range(3)}) == 1


def test_a_step_too_long_for_the_clock_is_told() -> None:
    assert step_time(step(1, [(0, 1 << 61, 0, 0)]), at(0)) == 1 << 61
    assert step_time(step(1, [(0, 1 << 61, 0, 1 << 61)]), at(0)) == -1
