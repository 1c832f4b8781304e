"""Energy is counts times constants; grades; the 45 nm convention stays apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import snnhw
from snnhw.artifact import Artifact
from snnhw.chip.band import Band
from snnhw.chip.convention import ann_macs, convention, float_operations, host_macs
from snnhw.chip.counts import ChipObserver
from snnhw.chip.energy import Energy, energy
from snnhw.chip.tally import tally
from snnhw.encoding import HostOp, InputSpec
from snnhw.engines.reference import ReferenceEngine
from snnhw.frontends.source import Source
from snnhw.machine import Constant, worst
from snnhw.network import Conv, Dense, Diagonal, Kind, Network, Population, Projection, Readout
from tests.unit.chip.nets import CHAIN_INPUT, chain, integrator, mapped, residual, residual_input, toy
from tests.unit.lowering.runs import small_sew


def spent(artifact: Artifact, x: np.ndarray, time_grade: str = "definition") -> tuple[Energy, ChipObserver]:
    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": x}], [observer])
    total = tally(artifact, observer.wiring, observer.counts)
    seconds = observer.times.period / observer.counts.samples * 1e-12
    return energy(artifact, total, Band(seconds, seconds, seconds), time_grade), observer


def test_chain_by_hand() -> None:
    """Counts from test_counts.py: 20 synops, 12 accesses, 12 active, 4 spikes, 4 + 6 messages, 2 hops north-south."""
    found, observer = spent(chain(), CHAIN_INPUT)
    seconds = observer.times.period * 1e-12
    parts = {
        "synops_dense": 20 * 35.5e-12,
        "synops_sparse": 0.0,
        "synops_conv": 0.0,
        "neuron_access": 12 * 51.2e-12,
        "neuron_update": 12 * 21.6e-12,
        "spike_out": 4 * 69.3e-12,
        "message_out": 4 * 111e-12,
        "message_in": 10 * 1.5e-12,
        "hops_ew": 0.0,
        "hops_ns": 2 * 4.2e-12,
        "border": 0.0,
        "static_core": 2 * 0.815e-3 * seconds,
        "static_chip": 2e-3 * seconds,
    }
    assert {name: part.joules for name, part in found.parts.items()} == pytest.approx(parts, rel=1e-12)
    assert found.total_j == pytest.approx(sum(parts.values()), rel=1e-12)


def test_grade_is_the_worst_of_those_used() -> None:
    """The toy's sparse synapses are 'assumed', its update is 'inherited': chain has no sparse synapse."""
    assert spent(chain(), CHAIN_INPUT)[0].grade == "inherited"
    assert spent(residual(), residual_input(2))[0].grade == "assumed"


def test_static_energy_is_no_more_certain_than_time() -> None:
    found, _ = spent(chain(), CHAIN_INPUT, time_grade="scaled")
    assert (found.parts["static_core"].grade, found.parts["spike_out"].grade) == ("scaled", "measured-fit")


def test_energy_is_a_mean_per_sample() -> None:
    once, _ = spent(chain(), CHAIN_INPUT)
    twice, _ = spent(chain(), np.repeat(CHAIN_INPUT, 2, axis=0))
    assert twice.total_j == pytest.approx(once.total_j, rel=1e-12)


def test_ann_macs_of_shared_weights_count_once() -> None:
    conv = (6 * 3 - 2) * (5 * 3 - 2) * 2 * 4  # 3 x 3 with a border of one on 6 x 5, 2 channels in, 4 out
    grouped = conv  # 4 in and 4 out in 2 groups are as many
    strided = (2 + 3 + 3) * (2 + 3 + 2) * 4 * 6  # rows and columns of the kernel inside the image; from a and b at once
    dense, sparse = 3 * 54, 5
    assert ann_macs(residual()) == conv + grouped + strided + dense + sparse


def test_host_macs_are_border_aware() -> None:
    op = Conv("k", padding=(1, 1))
    host = HostOp("in", op, {"k": np.ones((4, 1, 3, 3), np.int64)}, np.zeros(4), 0, (4, 2, 2), 0, 255)
    spec = InputSpec("x", (1, 2, 2), "direct", host=host)
    assert host_macs(spec) == 4 * 4 * 4
    assert host_macs(replace(spec, host=None)) == 0


def test_float_operations() -> None:
    """Direct input: dense MACs of the first layer, once if static; binary events are ACs."""
    artifact = chain()
    events = {"x": np.array([2, 0, 1]), "h": np.array([3, 1, 0, 0]), "y": np.zeros(2)}
    assert float_operations(artifact, events, 2, False).acs == (3 * 4 + 4 * 2) / 2
    direct = replace(artifact, deployment=replace(artifact.deployment, encoding="direct"))
    once = float_operations(direct, events, 2, True)
    assert (once.acs, once.macs) == (4 * 2 / 2, 12)
    assert float_operations(direct, events, 2, False).macs == 24


def test_float_operations_do_not_depend_on_relays() -> None:
    """SEW blocks with graded relays and with a projection per summand are one float network."""
    source = small_sew((3, 2))
    x = np.random.default_rng(0).integers(0, 256, (4, 1, 6, 6)).astype(np.uint8)
    found = {}
    for form in ("summands", "relays"):
        artifact = snnhw.compile(source, target="loihi2", sums=form, calibrate=x)
        sums = [p.name for p in artifact.network.populations if p.kind is Kind.RELAY and p.name.endswith(".sum")]
        assert bool(sums) is (form == "relays")
        found[form] = snnhw.compare(source, artifact, x).convention_45nm.float_snn
    assert found["relays"] == found["summands"]
    assert found["relays"].acs > 0
    assert found["relays"].macs == stem_macs(source)


def stem_macs(source: Source) -> int:
    """The stem's 3 x 3 convolution on 6 x 6 pixels, borders left out; once a sample, since the image stays."""
    [stem] = [node for name, node in source.graph.nodes.items() if name.startswith("stem") and hasattr(node, "weight")]
    outputs, inputs = stem.weight.shape[:2]
    return int((3 * 6 - 2) ** 2 * outputs * inputs)


def test_a_relay_of_graded_events_hands_on_macs() -> None:
    """x is binary, h sends up to 3: y reads both through one relay; ACs for x's events, MACs for h's."""
    cells = (
        Population("x", (2,), Kind.INPUT),
        Population("h", (2,), Kind.NEURON, replace(integrator(1), max_spikes=3), start=1, payload=(0, 3)),
        Population("r", (2,), Kind.RELAY, integrator(1), start=2, payload=(0, 4)),
        Population("y", (3,), Kind.NEURON, integrator(5), start=3),
    )
    one = Diagonal("one")
    routes = (
        Projection("x-h", "x", "h", one),
        Projection("x-r", "x", "r", one, delay=2),
        Projection("h-r", "h", "r", one),
        Projection("r-y", "r", "y", Dense("w")),
    )
    tables = {"one": np.ones(()), "w": np.ones((3, 2))}
    artifact = mapped(Network(cells, routes, tables, 2, Readout("rate", "y")), [("h", ((0, 2),), 0)])
    events = {"x": np.array([2, 1]), "h": np.array([1, 0]), "r": np.array([2, 1]), "y": np.zeros(3)}
    found = float_operations(artifact, events, 1, False)
    assert (found.acs, found.macs) == (3 * 1 + 3 * 3, 1 * 3)


def test_convention_constants() -> None:
    prices = convention()
    assert prices.joules(10, 0) == pytest.approx(9e-12, rel=1e-12)
    assert prices.joules(0, 10) == pytest.approx(46e-12, rel=1e-12)
    assert "not the chip's energy" in prices.label


def test_units() -> None:
    assert toy().time.message_out == 5100
    assert toy().time.sync["tiles_2"] == 1_000_000
    assert float(Constant(0.815, "mW", "assumed", "").si()) == 0.815e-3 == toy().energy.static_core
    assert worst(["published", "scaled", "measured-fit"]) == "scaled"
    assert worst([]) == "definition"
