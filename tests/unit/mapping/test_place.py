"""Placement keeps every limit, places every neuron once, and gives the same mapping every time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from snnhw.errors import MappingError
from snnhw.machine import Machine, available, load_target
from snnhw.mapping.fit import NOT_POSSIBLE, _scaled, guessed_limits
from snnhw.mapping.pack import combined
from snnhw.mapping.place import check_fit, place, utilization
from snnhw.mapping.resources import limits
from snnhw.mapping.route import snake
from snnhw.mapping.types import Mapping
from snnhw.network import Dense, Kind, Network, Projection, verify
from tests.recurrent import FORMS, recurrent_case
from tests.unit.mapping.nets import Builder, chain, sew, stbp
from tests.unit.mapping.toys import one_core, toy

NETS = {"sew": sew, "stbp": stbp}


def assert_sound(network: Network[Any], target: Machine, mapping: Mapping) -> None:
    """Every neuron once, every core inside its limits, cores and chips inside the target."""
    for population in network.computed:
        times = np.zeros(population.shape, np.int64)
        for part in mapping.of(population.name):
            times[part.where] += 1
            assert part.use["neurons"] == part.size
        assert (times == 1).all(), population.name
        assert (mapping.core_map(population.name, population.shape) >= 0).all()
    assert {part.population for part in mapping.slices} == {p.name for p in network.computed}
    usable, held = set(snake(target).tolist()), dict[int, dict[str, int]]()
    for part in mapping.slices:
        held[part.core] = combined(held.get(part.core, {}), dict(part.use))
    for core, use in held.items():
        for key, limit in limits(target).items():
            assert use[key] <= limit, (core, key)
        assert core % target.chip.cores in usable
    assert max(held) // target.chip.cores + 1 == mapping.chips <= target.chip.chips


def random_net(seed: int) -> Network[Any]:
    """Convolutions of random geometry with a random skip, then dense layers."""
    rng = np.random.default_rng(seed)
    b = Builder(rng)
    groups = int(rng.choice([1, 2]))
    b.input((2, int(rng.integers(7, 20)), int(rng.integers(7, 20))))
    first = b.conv("a", ["in"], 4, int(rng.choice([1, 3])), int(rng.integers(1, 3)), groups=groups)
    second = b.conv("b", [first], 4, 3, dilation=int(rng.integers(1, 3)), padding=2, groups=int(rng.choice([1, 4])))
    third = b.conv("c", [second], 6, 2, 2, padding=0)
    last = b.dense("d", [third], int(rng.integers(1, 40)))
    b.dense("e", [last], int(rng.integers(1, 12)), Kind.ACCUMULATOR)
    return b.build()


@pytest.mark.parametrize("target", available())
@pytest.mark.parametrize("name", NETS)
def test_the_seed_networks_fit(name: str, target: str) -> None:
    network, chip = NETS[name](), load_target(target)
    verify(network)
    started = time.perf_counter()
    mapping = place(network, chip)
    print(
        f"{name} on {target}: {mapping.cores_used} cores, {mapping.chips} chips, {time.perf_counter() - started:.2f} s"
    )
    assert_sound(network, chip, mapping)
    assert place(network, load_target(target)) == mapping


def test_the_numbers_of_cores_stay() -> None:
    """Changes here are changes of the resource formulas: say so in docs/targets.md."""
    found = {
        (name, target): (mapping.cores_used, mapping.chips)
        for name, net in NETS.items()
        for target in ("loihi1", "loihi2")
        for mapping in [place(net(), load_target(target))]
    }
    assert found == {
        ("sew", "loihi1"): (123, 1),
        ("sew", "loihi2"): (19, 1),
        ("stbp", "loihi1"): (35, 1),
        ("stbp", "loihi2"): (9, 1),
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shared", [True, False])
def test_tight_cores_are_respected(seed: int, shared: bool) -> None:
    network = random_net(seed)
    chip = toy(
        core__neurons=48, core__in_axons=700, core__out_axons=300, core__syn_words=900, core__conv_shared=shared,
        core__axon_sources=1 + 3 * (seed % 2), core__delay_slots=1024, chip__chips=1000,
    )  # fmt: skip
    mapping = place(network, chip)
    assert_sound(network, chip, mapping)
    assert mapping.cores_used > 5


def test_larger_networks_take_several_chips() -> None:
    b = Builder(np.random.default_rng(0))
    b.input((3, 32, 32))
    b.conv("c", [b.conv("b", [b.conv("a", ["in"], 64)], 64)], 128)
    network, chip = b.build(), load_target("loihi1")
    mapping = place(network, chip)
    assert (mapping.cores_used, mapping.chips) == (256, 2)
    assert_sound(network, chip, mapping)


def test_recurrent_populations_settle() -> None:
    network = chain((20, 300, 5))
    weights = {**network.weights, "w_loop": np.ones((300, 300), np.int8)}
    loop = Projection("loop", "fc1", "fc1", Dense("w_loop"))
    network = Network(network.populations, (*network.projections, loop), weights, 4, network.readout)
    chip = toy(core__neurons=40, core__syn_words=3000)
    mapping = place(network, chip)
    assert_sound(network, chip, mapping)
    assert len(mapping.of("fc1")) >= 8


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_every_form_of_feedback_is_placed(form: str, target: str) -> None:
    """Constants, which have no synapses of their own, and loops cut finer than they need be."""
    profile = "lava-lif" if target == "loihi1" else "programmable"
    network = recurrent_case(3, profile, form=form).network
    assert_sound(network, load_target(target), place(network, load_target(target)))
    chip = toy(target, core__neurons=3, core__in_axons=400)
    mapping = place(network, chip)
    assert_sound(network, chip, mapping)
    assert mapping.cores_used >= sum(p.size for p in network.computed) / 3
    for population in network.computed:
        used = sum(part.use["syn_words"] for part in mapping.of(population.name))
        assert (used == 0) == (not network.into(population.name))


def test_small_populations_share_a_core() -> None:
    chip = one_core()
    mapping = place(chain((8, 6, 4)), chip)
    assert [part.core for part in mapping.slices] == [0, 0]
    (row,) = utilization(mapping, chip)
    assert (row["chip"], row["core"], row["populations"]) == (0, 0, ["fc1", "fc2"])
    assert row["resources"]["neurons"] == {"used": 10, "limit": 1024, "margin": 1024 - (10)}
    assert row["resources"]["in_axons"] == {"used": 8 + 1, "limit": 4096, "margin": 4096 - (8 + 1)}
    assert row["resources"]["out_axons"] == {"used": 2, "limit": 4096, "margin": 4096 - (2)}
    # lists of 6 and of 4 weights: (6*8 + 20 + 5)//64 + 1 = 2 words, (4*8 + 25)//64 + 1 = 1 word
    assert row["resources"]["syn_words"] == {"used": 8 * 2 + 6 * 1, "limit": 16384, "margin": 16384 - (8 * 2 + 6 * 1)}
    assert row["resources"]["words_per_axon"] == {"used": 2, "limit": 256, "margin": 256 - (2)}


def test_check_fit_tells_without_raising() -> None:
    rows = check_fit(chain((8, 6, 4)), one_core(core__neurons=9))
    by = {(row["population"], row["resource"]): row for row in rows}
    assert by["fc1", "neurons"] == {
        "population": "fc1", "resource": "neurons", "needed": 6, "limit": 9, "margin": 3, "grade": "assumed",
        "slices": 1, "fits": True,
    }  # fmt: skip
    assert by["(network)", "cores"] == {
        "population": "(network)", "resource": "cores", "needed": 2, "limit": 1, "margin": -1, "grade": "assumed",
        "slices": 2, "fits": False,
    }  # fmt: skip


def test_check_fit_and_place_agree() -> None:
    chip = toy(core__in_axons=100, core__syn_words=400)
    rows = check_fit(stbp(), chip)
    bad = [f"{row['population']}, {row['resource']}" for row in rows if not row["fits"]]
    with pytest.raises(MappingError) as caught:
        place(stbp(), chip)
    assert caught.value.where in bad


def test_guessed_limits_say_what_the_count_hangs_on() -> None:
    """fc1's 300 sources fit 200 axons in no core; with 400 one slice is enough; memory is no guess here."""
    chip = toy("loihi2", core__neurons=10, core__in_axons=300)
    rows = guessed_limits(chain((300, 20, 4)), chip)
    by = {tuple(row["keys"]): (row["cores"], row["half"], row["twice"]) for row in rows}
    assert by["core.neurons",] == (3, 5, 2)
    assert by["core.in_axons",] == (3, None, 3)
    assert not [keys for keys in by if "core.memory_words" in keys]


def test_a_guessed_limit_is_not_doubled_past_the_memory_that_holds_it() -> None:
    """Twice the synaptic memory is more than the core has, and half the core less than its synaptic memory."""
    words = load_target("loihi2").core.memory_words
    chip = load_target("loihi2", {"core.syn_words": words, "core.memory_words": words, "core.neurons": 4})
    rows = guessed_limits(chain((3000, 40, 4)), chip)
    assert all(row["keys"] != ["core.memory_words"] or row["half"] == NOT_POSSIBLE for row in rows)
    assert any(row["keys"] == ["core.neurons"] for row in rows)
    assert _scaled(chain((3000, 40, 4)), chip, ["core.syn_words"], 2) == NOT_POSSIBLE
    assert _scaled(chain((3000, 40, 4)), chip, ["core.memory_words"], 0.5) == NOT_POSSIBLE


def test_a_chip_of_many_tiles_is_placed_without_a_table_of_routes() -> None:
    """32 x 32 tiles: a table of all routes would take gigabytes."""
    values = {"chip.mesh": [32, 32], "chip.cores": 4096, "chip.cores_usable": 4096}
    target, network = load_target("loihi2", values), stbp()
    assert_sound(network, target, place(network, target))
