"""Low, likely and high: of constants by hand, of parts and totals that re-add, of shipped targets."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from snnhw.chip.band import SPREADS, Band, band_of, ends, machines
from snnhw.chip.counts import ChipObserver
from snnhw.comparison import Comparison, compare
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import TargetError
from snnhw.machine import GRADES, Constant, available, load_target
from tests.unit.chip.nets import CHAIN_INPUT, chain, residual, residual_input
from tests.unit.comparison.sides import Twin

SYSTEM = """
[system]
host_in = { value = 100, unit = "ns", grade = "assumed", source = "toy" }
host_out = { value = 50, unit = "ns", grade = "assumed", source = "toy" }
reset = { value = 3, unit = "us", grade = "published", source = "toy" }
host_in_energy = { value = 10, unit = "pJ", grade = "assumed", source = "toy" }
host_out_energy = { value = 20, unit = "pJ", grade = "assumed", source = "toy" }
reset_energy = { value = 5, unit = "nJ", grade = "published", source = "toy" }
cpus = { value = 4, unit = "mW", grade = "published", source = "toy" }
base = { value = 6, unit = "mW", grade = "published", source = "toy" }
"""


def seen(boundary: str, system: str = SYSTEM, timing: str = "analytic") -> Comparison:
    from snnhw.machine import parse_target

    artifact = chain()
    artifact = replace(artifact, target=parse_target("toy", artifact.target.text + system))
    options = {"boundary": boundary, "timing": timing}
    return compare(Twin(artifact), artifact, CHAIN_INPUT, None, ReferenceEngine(), **options)


def test_a_constant_by_hand() -> None:
    """Ends of all that is said, each with its own spread: 4 / 1.25 and 9 * 2 of a time, 4 / 1.12 of an energy."""
    other = {"value": 9.0, "grade": "assumed", "source": ""}
    found = ends(Constant(4.0, "ns", "measured-fit", "", (other,)))
    assert found == (Fraction("3.2e-9"), Fraction("4e-9"), Fraction("18e-9"))
    assert band_of(Constant(4.0, "pJ", "measured-fit", "")).low == pytest.approx(4e-12 / 1.12)
    assert band_of(Constant(4.0, "mW", "published", "")) == Band(4e-3, 4e-3, 4e-3)


def test_worse_grades_are_wider() -> None:
    assert set(SPREADS) == set(GRADES)
    for column in (0, 1):
        spreads = [float(SPREADS[grade][column]) for grade in GRADES]
        assert spreads == sorted(spreads)
        assert spreads[0] == 1.0


@pytest.mark.parametrize("name", available())
def test_machines_hold_the_target_between_them(name: str) -> None:
    low, likely, high = machines(load_target(name))
    assert likely is load_target(name) or likely == load_target(name)
    for key, constant in likely.constants.items():
        section, *path = key.split(".")
        if section not in ("time", "energy", "system"):
            continue
        values = []
        for machine in (low, likely, high):
            value = getattr(machine, section)
            for part in path:
                value = value[part] if isinstance(value, dict) else getattr(value, part)
            values.append(value)
        assert values == sorted(values), key
        assert values[0] < values[2] or not float(constant.si()) or SPREADS[constant.grade] == ("1", "1"), key


def test_two_sets_of_loihi1_lie_in_each_others_bands() -> None:
    fit, spice = load_target("loihi1"), load_target("loihi1-davies")
    for mine, other in ((fit, spice), (spice, fit)):
        for key in ("time.access", "time.synop.conv", "time.sync.tiles_4", "energy.synop.dense", "energy.message_out"):
            low, _, high = ends(mine.constant(key))
            assert low <= other.constant(key).si() <= high, key


def test_parts_re_add_at_both_ends() -> None:
    artifact = residual()
    c = compare(Twin(artifact), artifact, residual_input(3), None, ReferenceEngine())
    for end in ("low", "likely", "high"):
        whole = getattr(c.energy.band, end)
        assert sum(getattr(part.band, end) for part in c.energy.parts.values()) == pytest.approx(whole, rel=1e-12)
        moving = sum(getattr(part.band, end) for name, part in c.energy.parts.items() if "static" not in name)
        assert sum(getattr(row.energy, end) for row in c.layers) == pytest.approx(moving, rel=1e-12)
    assert c.energy.band.likely == c.energy.total_j
    assert c.latency.band.low < c.latency.seconds < c.latency.band.high
    observer = ChipObserver(artifact)
    ReferenceEngine().run(artifact.network, artifact.target, [{"x": residual_input(3)}], [observer])
    assert c.latency.band.high == pytest.approx(observer.ends["high"].times.latency / 3e12)
    waited = sum(row.critical_seconds.likely for row in c.layers)
    barriers = observer.loads.sync * artifact.network.steps / 1e12
    assert waited == pytest.approx(c.throughput.seconds_per_sample - barriers)
    assert sum(row.critical_s for row in c.cores) == pytest.approx(waited)
    assert sum(row.synops for row in c.cores) == pytest.approx(c.synops)
    assert sum(row.updates for row in c.cores) == pytest.approx(c.neuron_updates)
    assert sum(row.messages for row in c.cores) == pytest.approx(c.messages)


def test_event_times_keep_the_ratio_of_the_analytic_band() -> None:
    plain, event = (seen("core", timing=timing).latency.band for timing in ("analytic", "event"))
    assert event.likely > plain.likely
    assert event.high / event.likely == pytest.approx(plain.high / plain.likely)


def test_boundaries_by_hand() -> None:
    """`chain` writes 3 values and reads none (y is silent); 2 of 8 cores are used."""
    core, chip, board = (seen(boundary) for boundary in ("core", "chip", "board"))
    assert core.energy.beside.keys() == {"idle_cores", "cpus", "base", "reset", "host_in", "host_out"}
    assert (chip.energy.beside.keys(), board.energy.beside) == ({"host_in", "host_out"}, {})
    assert chip.latency.seconds == pytest.approx(core.latency.seconds + 3e-6)
    assert board.latency.seconds == pytest.approx(chip.latency.seconds + 3 * 100e-9)
    assert board.latency.band.high == pytest.approx(chip.latency.band.high + 3 * 200e-9)
    period = core.throughput.seconds_per_sample + 3e-6
    assert chip.throughput.seconds_per_sample == board.throughput.seconds_per_sample == pytest.approx(period)
    more = {name: part.joules for name, part in board.energy.parts.items() if name not in core.energy.parts}
    assert more == pytest.approx(
        {
            "idle_cores": 6 * 0.815e-3 * period,
            "cpus": 4e-3 * period,
            "base": 6e-3 * period,
            "reset": 5e-9,
            "host_in": 30e-12,
            "host_out": 0.0,
        }
    )
    assert (core.energy.grade, board.energy.grade) == ("inherited", "assumed")


def test_a_slow_host_sets_the_throughput() -> None:
    slow = SYSTEM.replace("value = 100", "value = 100000")
    found = seen("board", slow)
    assert found.throughput.seconds_per_sample == pytest.approx(3 * 100e-6)
    assert found.latency.seconds > 3 * 100e-6


def test_a_target_without_a_system_has_no_wider_boundary() -> None:
    assert seen("core", "").energy.beside == {}
    with pytest.raises(TargetError) as caught:
        seen("board", "")
    assert str(caught.value).startswith("no-system: the target says nothing of what a board costs beside its cores")
    assert "use --boundary core" in str(caught.value)


def test_outside_its_steps_a_biased_neuron_is_updated() -> None:
    """chain: h waits at chip steps 0 and 3, y at 0 and 1: 2 + 2 on core 2 and 2 on core 0 are updated by bias alone."""
    artifact = chain()
    network = artifact.network
    x, h, y = network.populations
    pushed = replace(h, neuron=replace(h.model, bias=np.array(1)))
    driven = replace(artifact, network=replace(network, populations=(x, pushed, y)))
    waiting = [ChipObserver(each).loads.waiting for each in (artifact, driven)]
    assert not waiting[0].any()
    assert waiting[1].tolist() == [[2 * 3700, 2 * 3700], [0, 0], [0, 0], [2 * 3700, 2 * 3700]]
