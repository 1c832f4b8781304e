"""Work of slices against counts of a run; rates that users say; what each aim comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnhw.artifact import Artifact
from snnhw.chip.band import Band
from snnhw.chip.counts import ChipObserver
from snnhw.chip.energy import energy
from snnhw.chip.expected import expected
from snnhw.chip.tally import tally
from snnhw.engines.fast import FastEngine
from snnhw.engines.observe import Busy
from snnhw.errors import MappingError
from snnhw.machine import load_target
from snnhw.mapping.choose import Aim, core_work, ends, point
from snnhw.mapping.load import RATE, Load, Work, flits, stated
from snnhw.mapping.partition import partition
from snnhw.mapping.place import place
from snnhw.network import Kind, Network
from tests.unit.chip.nets import mapped
from tests.unit.mapping.nets import chain, stbp
from tests.unit.mapping.test_place import assert_sound, random_net
from tests.unit.mapping.toys import toy


def busy(network: Network[Any], samples: int = 3, seed: int = 0) -> tuple[Load, dict[str, Any]]:
    """A load from random input, and the input."""
    rng, chip = np.random.default_rng(seed), load_target("loihi2")
    x = {p.name: (rng.random((samples, network.steps, *p.shape)) < 0.3).astype(np.int8) for p in network.inputs}
    observer = Busy(network)
    FastEngine().run(network, chip, [x], [observer])
    return observer.load, x


@pytest.mark.parametrize("aim", list(Aim))
@pytest.mark.parametrize("seed", range(3))
def test_work_and_energy_are_those_of_the_run_that_was_placed_for(seed: int, aim: Aim) -> None:
    """Every message and synapse of the run, core by core; totals re-add whatever the cut."""
    network, chip = random_net(seed), toy("loihi2", core__neurons=40, core__syn_words=700, chip__chips=20)
    load, x = busy(network)
    mapping = place(network, chip, load, aim)
    assert_sound(network, chip, mapping)
    artifact = replace(mapped(network, [("a", ((0, 1),), 0)]), target=chip, mapping=mapping)
    observer = ChipObserver(artifact)
    FastEngine().run(network, chip, [x], [observer])
    found = ends(point(partition(network, chip, Work(network, chip, load))))[aim]
    assert {p.name: len(mapping.of(p.name)) for p in network.computed} == {
        p.name: len(found.cut.boxes[p.name]) for p in network.computed
    }
    sent, received = core_work(found.cut, found.slices)
    assert sorted(received.astype(int)) == sorted(observer.times.reception)
    assert sorted(sent) == pytest.approx(sorted(observer.times.generation), rel=0.12)  # updates are spread evenly
    total = tally(artifact, observer.wiring, observer.counts)
    parts = energy(artifact, total, Band(0.0, 0.0, 0.0)).parts
    moving = sum(part.joules for name, part in parts.items() if not name.startswith(("static", "hops", "border")))
    assert found.joules == pytest.approx(moving * load.steps / network.steps, rel=1e-9)
    fans = observer.wiring.fans
    reached = (
        fans[q.projection.pre].total(observer.counts.events[q.projection.pre]) @ q.stored for q in observer.wiring.links
    )
    assert total.synops == sum(reached)


def test_aims_are_in_order() -> None:
    network, chip = stbp(), load_target("loihi2")
    load, _ = busy(network)
    found = ends(point(partition(network, chip, Work(network, chip, load))))
    fewest, balanced, fastest = (found[aim] for aim in Aim)
    assert fewest.cores < balanced.cores <= fastest.cores <= chip.chip.cores_usable
    assert fewest.busy > 5 * balanced.busy >= 5 * fastest.busy
    assert balanced.joules <= 1.05 * fewest.joules
    work = core_work(fastest.cut, fastest.slices).max(axis=0)
    assert fastest.cores >= 60
    assert work.max() <= 1.5 * work.mean()


def test_the_same_load_gives_the_same_mapping() -> None:
    network, chip = chain((20, 300, 40)), load_target("loihi2")
    load, _ = busy(network)
    assert place(network, chip, load, Aim.BALANCED) == place(network, chip, load, Aim.BALANCED)
    assert (
        place(network, chip, load, Aim.FEWEST).choice["ends"] == place(network, chip, load, Aim.FASTEST).choice["ends"]
    )


def test_what_a_sample_takes_is_said_before_any_run() -> None:
    network, chip = chain((20, 30, 5)), load_target("loihi2")
    load = stated(network, 0.5)
    mapping = place(network, chip, load, Aim.FEWEST)
    choice = mapping.choice
    assert choice is not None
    bands = expected(mapping, load, network, chip)
    found = {name: band.likely for name, band in bands.items()}
    end = choice["ends"][choice["map"]]
    assert found["energy_j"] == pytest.approx(network.steps * end["energy_j"])
    assert all(band.low < band.likely < band.high for band in bands.values())
    arriving = 20 * (16_000 + 30 * 760) + 15 * (16_000 + 5 * 760)  # one core: inputs are events, half of fc1 fires
    assert found["period_s"] == pytest.approx(4 * (arriving * 1e-12 + 66.7e-9))
    assert found["static_j"] == pytest.approx(0.815e-3 * found["period_s"])
    assert choice["rates"] == {"in": 1.0, "fc1": 0.5, "fc2": 0.5}


def test_rates_of_single_populations() -> None:
    network = chain((6, 5, 4))
    assert stated(network).rates() == {"in": 1.0, "fc1": RATE, "fc2": RATE}
    assert stated(network, 0.25).rates() == {"in": 1.0, "fc1": 0.25, "fc2": 0.25}
    assert stated(network, "in=0.5,fc*=0.2,fc1=0.9").rates() == {"in": 0.5, "fc1": 0.2, "fc2": 0.2}
    assert stated(network, {"fc1": 0.0}).rates()["fc1"] == 0.0
    assert "stated: 0.25 events" in stated(network, "0.25").origin


@pytest.mark.parametrize("rates", ["fast", "1.5", "-0.1", "fc1=x", "nan", "", "fc1=0.1,0.3=="])
def test_what_is_no_rate_is_refused(rates: str) -> None:
    with pytest.raises(MappingError) as caught:
        stated(chain((6, 5, 4)), rates)
    assert str(caught.value) == (
        "bad-rates: this says no rates: events of a neuron in a step\n"
        f"  where: --rates {rates}\n"
        "  limit: a number from 0 to 1, or NAME=RATE,... with names of populations (* and ? match any)"
    )


def test_a_rate_of_no_population_is_refused() -> None:
    with pytest.raises(MappingError) as caught:
        stated(chain((6, 5, 4)), "conv=0.1")
    assert str(caught.value) == (
        "bad-rates: no population is named conv\n  where: --rates conv=0.1\n  limit: in, fc1, fc2"
    )


def test_a_payload_takes_flits() -> None:
    chip = toy("loihi2", chip__flit_bits=4)
    assert [flits(chip, payload) for payload in ((0, 1), (0, 3), (0, 15), (0, 16), (-8, 7))] == [1, 2, 2, 3, 3]
    assert flits(load_target("loihi1"), (0, 255)) == 1


def test_relays_pay_for_their_flits() -> None:
    network, chip = chain((8, 6, 4)), toy("loihi2", chip__flit_bits=4)
    graded = replace(
        network,
        populations=tuple(replace(p, payload=(0, 200)) if p.kind is Kind.NEURON else p for p in network.populations),
    )
    plain, loaded = (Work(n, chip, stated(n, 0.5)) for n in (network, graded))
    boxes = partition(network, chip).boxes
    more = 6 * 500 * 2  # three flits instead of one for each of the messages of fc1
    assert loaded.of("fc1", boxes)[0].sum() - plain.of("fc1", boxes)[0].sum() == more * chip.time.message_out
    assert loaded.messages(boxes) - plain.messages(boxes) == pytest.approx(more * chip.energy.message_out)


def test_an_artifact_of_a_hand_made_mapping_has_no_choice() -> None:
    found: Artifact = mapped(chain((3, 2)), [("fc1", ((0, 2),), 0)])
    assert found.mapping.choice is None
