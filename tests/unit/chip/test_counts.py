"""Counts against numbers worked out by hand and against loops over every synapse."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.artifact import Artifact
from snnhw.chip.counts import ChipObserver
from snnhw.chip.tally import Tally, tally
from snnhw.chip.wiring import wire
from snnhw.engines.base import Record
from snnhw.engines.fast import FastEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import EngineError
from tests.generate import PROGRAMMABLE
from tests.recurrent import FORMS, feedback, recurrent_case
from tests.unit.chip.brute import Brute, Kept
from tests.unit.chip.nets import CHAIN_INPUT, Piece, chain, mapped, residual, residual_input


def watched(artifact: Artifact, *chunks: np.ndarray) -> ChipObserver:
    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": chunk} for chunk in chunks], [observer])
    return observer


def totals(artifact: Artifact, observer: ChipObserver) -> Tally:
    return tally(artifact, observer.wiring, observer.counts)


def test_chain_by_hand() -> None:
    """Step 0: inputs 0 and 1 give h sums 1, 2, 2, 2, so h1 h2 h3 fire; y gets 3. Step 1: input 2 gives every h 1:
    h0 reaches 2 and fires, the others hold 1; y reaches 4, below its threshold of more than 5."""
    artifact = chain()
    found = totals(artifact, watched(artifact, CHAIN_INPUT))
    events = {p.name: p.events for p in found.populations}
    assert events == {"x": 3, "h": 4, "y": 0}
    assert [q.synops for q in found.projections] == [3 * 4, 4 * 2]
    assert [q.synops_nonzero for q in found.projections] == [3 * 4 - 1, 4 * 2]
    assert found.synops_of("dense") == found.synops == 20
    assert found.accesses == (4 + 2) * 2
    # h: all four get input in step 0 and step 1; y: input in both steps
    assert {p.name: p.active for p in found.populations} == {"x": 0, "h": 8, "y": 4}
    # every input spike goes to cores 0 and 2; h0 h1 (core 0) and h2 h3 (core 2) go to core 2
    assert found.host_messages.tolist() == [3, 3]
    assert found.traffic.toarray().tolist() == [[0, 2], [0, 2]]
    assert (found.messages, found.core_messages) == (10, 4)
    # core 0 is on tile (0, 0), core 2 on tile (0, 1)
    assert (found.hops_ew, found.hops_ns, found.chip_crossings) == (0, 2, 0)
    assert found.saturations == 0


@pytest.mark.parametrize(("make", "x"), [(chain, CHAIN_INPUT), (residual, residual_input(3))])
def test_equal_to_loops_over_every_synapse(make, x: np.ndarray) -> None:
    artifact = make()
    observer, kept = ChipObserver(artifact), Kept(artifact.network)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x}], [observer, kept])
    found, brute = totals(artifact, observer), Brute(artifact, kept.records)
    for p in found.populations:
        assert (p.events, p.active) == (brute.counts[f"events {p.name}"], brute.counts[f"active {p.name}"])
    for q in found.projections:
        counted = q.synops, q.synops_nonzero, q.payload_synops
        assert counted == tuple(brute.counts[f"{kind} {q.name}"] for kind in ("synops", "nonzero", "payload"))
    cores = observer.wiring.cores.tolist()
    expected = [[brute.traffic[a, z] for z in cores] for a in [*cores, -1]]
    assert [*found.traffic.toarray().tolist(), found.host_messages.tolist()] == expected
    assert (found.hops_ew, found.hops_ns, found.chip_crossings) == brute.hops()
    assert found.accesses == brute.counts["accesses"]


@pytest.mark.parametrize("form", FORMS)
def test_feedback_and_constants_are_counted_like_any_other(form: str) -> None:
    """Synops, messages and hops of every loop; halves of populations on cores of their own."""
    case = recurrent_case(2, PROGRAMMABLE, samples=2, form=form)
    slices: list[Piece] = []
    for p in case.network.computed:
        rest, half = tuple((0, n) for n in p.shape[1:]), (p.shape[0] + 1) // 2
        bounds = ((0, half), (half, p.shape[0])) if half < p.shape[0] else ((0, half),)
        slices += [(p.name, (ends, *rest), (len(slices) + i) % 7) for i, ends in enumerate(bounds)]
    artifact = mapped(case.network, slices)
    observer, kept = ChipObserver(artifact), Kept(artifact.network)
    FastEngine().run(artifact.network, artifact.target, [case.stream], [observer, kept])
    found, brute = totals(artifact, observer), Brute(artifact, kept.records)
    assert {p.name: (p.events, p.active) for p in found.populations} == {
        p.name: (brute.counts[f"events {p.name}"], brute.counts[f"active {p.name}"]) for p in case.network.populations
    }
    assert {q.name: q.synops for q in found.projections} == {
        q.name: brute.counts[f"synops {q.name}"] for q in case.network.projections
    }
    assert all(brute.counts[f"synops {q.name}"] for q in feedback(case.network))
    assert found.messages == sum(brute.traffic.values())
    assert (found.hops_ew, found.hops_ns, found.chip_crossings) == brute.hops()
    sync = observer.loads.sync
    assert observer.times.latency == sum(brute.latency(b, sync) for b in range(2))
    assert observer.times.period == sum(brute.period(b, sync) for b in range(2))


def test_graded_events_count_once_and_by_magnitude() -> None:
    artifact = residual()
    x = np.zeros((1, 2, 2, 6, 5), np.int64)
    x[0, 0, 0, 0, 0], x[0, 1, 1, 3, 2] = -3, 2
    first = totals(artifact, watched(artifact, x)).projections[0]
    corner, inside = 4 * 4, 4 * 9
    assert (first.events, first.synops, first.payload_synops) == (2, corner + inside, 3 * corner + 2 * inside)
    assert first.graded
    assert first.from_host


def test_chunks_merge_to_one_run() -> None:
    artifact, x = residual(), residual_input(5)
    whole = watched(artifact, x)
    chunked = watched(artifact, x[:2], x[2:4], x[4:])
    shards = [watched(artifact, part) for part in (x[:3], x[3:])]
    merged = shards[0].counts + shards[1].counts
    for counts in (chunked.counts, merged):
        assert counts.samples == 5
        for name in ("events", "magnitude", "active", "wraps", "clips"):
            for population, value in getattr(whole.counts, name).items():
                assert np.array_equal(getattr(counts, name)[population], value)
    for times in (chunked.times, shards[0].times + shards[1].times):
        assert (times.latency, times.latency_min, times.latency_max) == (
            whole.times.latency, whole.times.latency_min, whole.times.latency_max,
        )  # fmt: skip
        assert (times.period, times.samples) == (whole.times.period, 5)
        assert np.array_equal(times.generation, whole.times.generation)


def test_static_input_counts_as_its_copies() -> None:
    artifact = residual()
    one = residual_input(3)[:, :1]
    static = ChipObserver(artifact)
    static.observe(0, "x", Record(np.broadcast_to(one, (3, 2, 2, 6, 5))))
    copied = ChipObserver(artifact)
    copied.observe(0, "x", Record(np.repeat(one, 2, axis=1)))
    assert np.array_equal(static.counts.events["x"], copied.counts.events["x"])
    assert np.array_equal(static.counts.magnitude["x"], copied.counts.magnitude["x"])


def test_stored_synapses_sum_to_slices() -> None:
    wiring = wire(residual())
    network = residual().network
    for link in wiring.links:
        q = link.projection
        stored = q.op.fan_out(*network.between(q)).ravel()
        assert np.array_equal(link.stored[wiring.fans[q.pre].labels], stored)


def test_saturations_are_counted() -> None:
    artifact = chain()
    observer = ChipObserver(artifact)
    active = np.zeros((1, 2, 2), np.int64)
    observer.observe(0, "h", Record(np.zeros((1, 2, 4), np.int8), overflows={"u": 2, "v": 3}, active=active))
    assert (observer.counts.wraps["h"], observer.counts.clips["h"]) == (2, 3)


def test_missing_state_is_refused() -> None:
    observer = ChipObserver(chain())
    with pytest.raises(EngineError, match="no-state: active was not recorded"):
        observer.observe(0, "h", Record(np.zeros((1, 2, 4), np.int8)))
