"""Steps, floor, links and the sentence on what sets the time: by hand, and by sums that must agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from snnhw.chip.counts import ChipObserver
from snnhw.chip.links import links
from snnhw.chip.tally import tally
from snnhw.comparison import Comparison, compare
from snnhw.comparison.build import count
from snnhw.comparison.floor import bottleneck
from snnhw.comparison.tree import Floor
from snnhw.engines.reference import ReferenceEngine
from snnhw.mapping.route import hops
from tests.unit.chip.nets import CHAIN_INPUT, chain, residual, residual_input
from tests.unit.comparison.sides import Twin


@pytest.fixture(scope="module", params=["analytic", "event"])
def tree(request: pytest.FixtureRequest) -> Comparison:
    artifact = residual()
    return compare(Twin(artifact), artifact, residual_input(4), None, ReferenceEngine(), timing=request.param)


def test_chain_by_hand() -> None:
    """`test_analytic.py`: even steps 3 inputs and h1 h2 h3's spikes arrive at core 2; odd steps four messages do."""
    artifact = chain()
    c = compare(Twin(artifact), artifact, CHAIN_INPUT, None, ReferenceEngine())
    message, synop = 16e-9, 3.8e-9
    even = max(4 * 6e-9 + 4 * 3.7e-9, 2 * 6e-9 + 2 * 3.7e-9 + 35.1e-9, 3 * (message + 2 * synop))
    odd = max(4 * 6e-9 + 4 * 3.7e-9 + 2 * 35.1e-9, 4 * (message + 2 * synop))
    assert [row.seconds.likely for row in c.steps_trace] == pytest.approx([even + 1e-6, odd + 1e-6])
    assert [row.barrier_s for row in c.steps_trace] == [1e-6, 1e-6]
    assert [row.core for row in c.steps_trace] == [2, 2]
    kinds = {row.kind: row for row in c.floor}
    assert (kinds["synops"].core, kinds["synops"].population) == (2, "h")
    assert kinds["synops"].operations * 2 == c.cores[1].synops == 14
    assert kinds["synops"].seconds == pytest.approx(14 * synop / 2)
    assert kinds["synops"].mean == pytest.approx(20 * synop / 4)
    assert c.floor[0].kind == "barrier"
    assert c.bottleneck.startswith("The barrier sets the time of a step")


def test_steps_add_up(tree: Comparison) -> None:
    whole = tree.throughput.band
    for end in ("low", "likely", "high"):
        assert sum(getattr(row.seconds, end) for row in tree.steps_trace) == pytest.approx(getattr(whole, end))
    assert len(tree.steps_trace) == tree.steps
    for row in tree.steps_trace:
        bound = max(row.generation_s, row.reception_s) + row.barrier_s
        assert row.seconds.likely >= bound - 1e-15
    blocked = sum(row.blocked_s for row in tree.steps_trace)
    assert (blocked > 0) is (tree.latency.model == "event")
    assert sum(row.energy_j for row in tree.cores) == pytest.approx(
        sum(p.joules for name, p in tree.energy.parts.items() if not name.startswith(("static", "hops", "border"))),
        rel=0.05,
    ), "active updates are spread evenly over cores"


def test_links_carry_the_hops() -> None:
    artifact, x = residual(), residual_input(3)
    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x}], [observer])
    total = tally(artifact, observer.wiring, observer.counts)
    found = links(total, observer.wiring.cores, artifact.target)
    by_way: Counter[str] = Counter()
    for link in found:
        by_way[link.way] += link.flits
    assert by_way["east"] + by_way["west"] == total.hops_ew > 0
    assert by_way["north"] + by_way["south"] == total.hops_ns > 0
    pairs = total.flits.tocoo()
    cores = observer.wiring.cores
    walked = sum(
        sum(hops(int(cores[a]), int(cores[b]), artifact.target)[:2]) * int(n)
        for a, b, n in zip(pairs.row, pairs.col, pairs.data, strict=True)
    )
    assert sum(link.flits for link in found) == walked


@pytest.mark.parametrize("timing", ["analytic", "event"])
def test_the_trace_has_every_step_of_every_sample(timing: str) -> None:
    artifact, x = residual(), residual_input(4)
    part = count(Twin(artifact), artifact, x, None, ReferenceEngine(), chunk=3, timing=timing, trace=True)
    trace = part.under("trace")
    assert {name: array.shape for name, array in trace.items()} == dict.fromkeys(
        ("model", "generation", "reception", "core", "barrier"), (4, artifact.network.steps)
    )
    assert trace["model"].sum() == part.arrays["sum:model/times"][2]
    assert (trace["model"] >= np.maximum(trace["generation"], trace["reception"]) + trace["barrier"]).all()
    assert set(np.unique(trace["core"])) <= {s.core for s in artifact.mapping.slices}
    assert not count(Twin(artifact), artifact, x, None, ReferenceEngine(), chunk=3).under("trace")


def test_the_sentence() -> None:
    first = Floor("synops", 5, "lif2", 100.0, 8e-6, 2e-6)
    rest = Floor("barrier", None, None, 1.0, 1e-6, 1e-6)
    assert bottleneck([first, rest], 0.0) == (
        "Synaptic operations of core 5 (lif2) set the time of a step, 4.0 times the mean of the cores in use; "
        "lif2 on more cores (--map balanced or fastest) would shorten it."
    )
    even = replace(first, mean=7e-6)
    assert bottleneck([even, rest], 0.5).endswith(
        "; a lower rate of the layers before lif2 would shorten it; messages wait for each other in 50% of the time."
    )
    assert "fewer bits per weight" in bottleneck([replace(even, kind="messages"), rest], 0.0)
    assert "more cores for lif2" in bottleneck([replace(even, kind="updates"), rest], 0.0)
    assert bottleneck([rest, first], 0.5).startswith("The barrier sets the time")
