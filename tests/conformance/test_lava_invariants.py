"""What must not matter in Lava: the order of samples, who computes the synapses, how records are windowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnhw.engines.lava import LavaEngine, engine
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import Conv, Dense, Network
from tests.conformance.harness import differences, trace
from tests.generate import LIF, PROGRAMMABLE, Case, random_case, union

pytestmark = pytest.mark.lava


def test_shuffled_samples_give_shuffled_outputs() -> None:
    case = union([random_case(seed, LIF, samples=6) for seed in (0, 1, 2)])
    order = np.array([4, 0, 5, 1, 3, 2])
    straight, shuffled = trace(LavaEngine(), case), trace(LavaEngine(), case, order)
    for population in case.network.populations:
        one, other = straight.arrays(population.name), shuffled.arrays(population.name)
        for part in one.keys() - {"wraps", "clips"}:
            assert (one[part][order] == other[part]).all(), (population.name, part)


def _even(network: Network[object]) -> Network[object]:
    """What stock Dense and Conv can say: 8-bit weights, even where signs are mixed; no exponent at a Conv."""
    stock = {q.op.weight for q in network.projections if isinstance(q.op, Dense | Conv)}
    weights = {name: w & ~1 if name in stock else w for name, w in network.weights.items()}
    projections = tuple(replace(q, weight_exp=0) if isinstance(q.op, Conv) else q for q in network.projections)
    return replace(network, weights=weights, projections=projections)


@pytest.mark.parametrize("profile", [LIF, PROGRAMMABLE])
def test_sparse_connections_equal_stock(profile: str) -> None:
    case = union([random_case(seed, profile, samples=3) for seed in (21, 22, 23, 24, 25, 26, 27)])
    case = replace(case, network=_even(case.network))
    stock, sparse = (trace(LavaEngine(connections=kind), case) for kind in ("stock", "sparse"))
    assert differences(case, stock, sparse) == {}
    assert any(trace.arrays(p.name)["spikes"].any() for trace in [stock] for p in case.network.computed)


def test_windows_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WINDOW_SAMPLES", 3)
    case = random_case(1, PROGRAMMABLE, samples=7)
    kept = trace(LavaEngine(), case)
    assert [len(r.spikes) for r in kept.chunks[case.network.computed[0].name]] == [3, 3, 1]
    assert differences(case, kept, trace(ReferenceEngine(), case)) == {}


def test_large_populations_make_small_windows() -> None:
    case = random_case(1, PROGRAMMABLE)
    assert engine._window(case.network) == engine.WINDOW_SAMPLES
    big = tuple(replace(p, shape=(1 << 22,)) for p in case.network.populations)
    assert engine._window(replace(case.network, populations=big)) == 1


def test_no_samples_give_no_records() -> None:
    case = random_case(0, LIF)
    empty = Case(case.network, {name: x[:0] for name, x in case.stream.items()}, LIF, "empty")
    assert trace(LavaEngine(), empty).chunks == {}
