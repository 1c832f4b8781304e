"""Step times against hand sums and against loops; the barrier's table."""

from __future__ import annotations

import numpy as np

from snnhw.chip.analytic import Barrier, Times, barrier, no_times, tiles_in_use, time_keys
from snnhw.chip.counts import ChipObserver
from snnhw.engines.base import Record
from snnhw.engines.reference import ReferenceEngine
from snnhw.machine import load_target
from tests.unit.chip.brute import Brute, Kept
from tests.unit.chip.nets import CHAIN_INPUT, chain, residual, residual_input, toy

SYNC = 1_000_000


def test_chain_by_hand() -> None:
    """Two tiles in use: 1 us a barrier. Core 0 holds h0 h1; core 2 holds h2 h3 y0 y1."""
    artifact = chain()
    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": CHAIN_INPUT}], [observer])
    access, update, fire = 6000, 3700, 30000 + 5100  # a spike of h is one message, to core 2
    message, synop = 16000, 3800
    steps = [
        max(4 * access, 2 * (message + 2 * synop)),  # 0: two inputs arrive, each at two neurons of each core
        max(4 * access + 2 * update + 2 * fire, message + 2 * synop, 3 * (message + 2 * synop)),  # 1: h1 h2 h3 fire
        max(4 * access + 4 * update, 2 * access + 2 * update + fire, message + 2 * synop),  # 2: h0 fires, y updates
        4 * access + 2 * update,  # 3: y alone
    ]
    assert observer.times.latency == sum(steps) + 4 * SYNC
    # steady: even steps hold x(0), h(1), y(0); odd steps x(1), h(0), y(1)
    even = max(4 * access + 4 * update, 2 * access + 2 * update + fire, 3 * (message + 2 * synop))
    odd = max(4 * access + 4 * update + 2 * fire, 4 * (message + 2 * synop))
    assert observer.times.period == even + odd + 2 * SYNC
    assert observer.times.samples == 1


def test_a_time_names_every_constant_it_was_made_from() -> None:
    plain = [f"time.{key}" for key in ("access", "update", "spike_out", "message_out", "message_in")]
    keys = time_keys(toy(), {"dense", "conv"}, 2, 1)
    assert keys == [*plain, "time.synop.conv", "time.synop.dense", *barrier(toy(), 2, 1).keys]
    assert not [key for key in keys if "chips" in key], "one chip waits for no other"


def test_shards_add_up() -> None:
    """Sums are added, extremes kept, and nothing yet counts as nothing."""
    one, two = (
        Times(n, 10 * n, n, 9 * n, 20 * n, n, 19 * n, np.array([n, 2]), np.array([3, n]), np.array([[n, 0], [1, n]]))
        for n in (1, 4)
    )
    found = one + two
    assert found.critical.tolist() == [[5, 0], [2, 5]]
    assert str(Times.of({key: np.asarray(part) for key, part in found.arrays("low").items()}, "low")) == str(found)
    assert (found.samples, found.latency, found.latency_min, found.latency_max) == (5, 50, 1, 36)
    assert (found.period, found.period_min, found.period_max) == (100, 1, 76)
    assert (found.generation.tolist(), found.reception.tolist()) == ([5, 4], [6, 5])
    assert no_times(2) + one is one
    assert one + no_times(2) is one


def test_equal_to_loops_over_chip_steps() -> None:
    artifact, x = residual(), residual_input(3, seed=4)
    observer, kept = ChipObserver(artifact), Kept(artifact.network)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x}], [observer, kept])
    brute = Brute(artifact, kept.records)
    sync = barrier(artifact.target, tiles_in_use(observer.wiring.cores, artifact.target), artifact.mapping.chips)
    latency = [brute.latency(b, sync.picoseconds) for b in range(3)]
    period = [brute.period(b, sync.picoseconds) for b in range(3)]
    times = observer.times
    assert (times.latency, times.latency_min, times.latency_max) == (sum(latency), min(latency), max(latency))
    assert (times.period, times.period_min, times.period_max) == (sum(period), min(period), max(period))


def test_more_spikes_are_never_faster() -> None:
    artifact = residual()
    few = residual_input(2)
    more = np.where(few == 0, 1, few)
    observers = [ChipObserver(artifact) for _ in range(2)]
    quiet = [p for p in artifact.network.populations if p.name != "x"]
    for observer, x in zip(observers, (few, more), strict=True):
        kept = Kept(artifact.network)
        kept.needs = observer.needs
        ReferenceEngine().run(artifact.network, artifact.target, [{"x": few}], [kept])
        observer.observe(0, "x", Record(x))
        for p in quiet:
            observer.observe(0, p.name, kept.records[p.name])
    assert observers[1].times.latency >= observers[0].times.latency


def test_tiles_and_barrier() -> None:
    target = toy()
    assert tiles_in_use(np.array([0, 1, 2, 8, 9]), target) == 3
    assert barrier(target, 1, 1) == Barrier(600_000, ("time.sync.tiles_1",), False)
    assert barrier(target, 7, 1) == Barrier(1_000_000, ("time.sync.tiles_2",), False)
    assert barrier(target, 7, 4) == Barrier(14_300_000, ("time.sync.tiles_2", "time.sync_chips.chips_3"), False)


def test_a_barrier_of_fewer_chips_than_published_lies_between() -> None:
    """Of 2 chips log 2 / log 3 of the way from the tiles' 1 us to the 14.3 us of 3."""
    found = barrier(toy(), 7, 2)
    assert found.interpolated
    assert found.picoseconds == 1_000_000 + round(13_300_000 * np.log(2) / np.log(3))
    times = [barrier(load_target("loihi2"), 32, chips).picoseconds for chips in range(1, 800)]
    assert times == sorted(times)
    assert (times[0], times[255], times[767]) == (200_000, 14_300_000, 16_200_000)
    assert barrier(load_target("generic"), 1, 3).picoseconds == barrier(load_target("generic"), 1, 1).picoseconds
