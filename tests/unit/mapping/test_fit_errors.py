"""The full text of every refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from snnhw.errors import MappingError
from snnhw.machine import Machine, load_target
from snnhw.mapping.place import place
from snnhw.network import Network
from tests.unit.mapping.nets import chain
from tests.unit.mapping.toys import one_core, toy


def refusal(network: Network[Any], target: Machine) -> str:
    with pytest.raises(MappingError) as caught:
        place(network, target)
    assert caught.value.code == "does-not-fit"
    return str(caught.value)


def test_too_many_in_axons() -> None:
    assert refusal(chain((20000, 4)), load_target("loihi1")) == (
        "does-not-fit: no slice of fc1 fits a core of loihi1: too many in-axons\n"
        "  where: fc1, in_axons\n"
        "  needed: 20000 in-axons for one slice, however it is cut\n"
        "  limit: 4096 in-axons per core\n"
        "  hint: reduce the fan-in of fc1 from 20000 to 4096"
    )


def test_a_shipped_target_that_fits_is_named() -> None:
    assert refusal(chain((300, 4)), toy(core__in_axons=200)) == (
        "does-not-fit: no slice of fc1 fits a core of toy: too many in-axons\n"
        "  where: fc1, in_axons\n"
        "  needed: 300 in-axons for one slice, however it is cut\n"
        "  limit: 200 in-axons per core\n"
        "  hint: reduce the fan-in of fc1 from 300 to 200, or use target loihi1 or loihi1-davies or loihi2"
    )


def test_a_programmable_network_is_not_sent_to_a_lava_lif_target() -> None:
    assert refusal(chain((300, 4)), toy("loihi2", core__in_axons=200)).endswith("or use target loihi2")


def test_too_much_synaptic_memory() -> None:
    assert refusal(chain((3000, 4)), toy(core__syn_words=2000)) == (
        "does-not-fit: no slice of fc1 fits a core of toy: too many words of synaptic memory\n"
        "  where: fc1, syn_words\n"
        "  needed: 3000 words of synaptic memory for one slice, however it is cut\n"
        "  limit: 2000 words of synaptic memory per core\n"
        "  hint: reduce the fan-in of fc1 from 3000 to 2000, or use target loihi1 or loihi1-davies or loihi2"
    )


def test_too_many_out_axons() -> None:
    assert refusal(chain((8, 6, 4)), toy(core__neurons=1, core__out_axons=3)) == (
        "does-not-fit: no slice of fc1 fits a core of toy: too many out-axons\n"
        "  where: fc1, out_axons\n"
        "  needed: 4 out-axons for one slice, however it is cut\n"
        "  limit: 3 out-axons per core\n"
        "  hint: reduce the neurons or the fan-in of the populations that read fc1 (fc2), "
        "or use target loihi1 or loihi1-davies or loihi2"
    )


def test_delays_too_long() -> None:
    network = chain((8, 6))
    late = replace(network, projections=tuple(replace(p, delay=40) for p in network.projections))
    assert refusal(late, toy(core__delay_slots=32)) == (
        "does-not-fit: no slice of fc1 fits a core of toy: too many delay slots\n"
        "  where: fc1, delay_slots\n"
        "  needed: 64 delay slots for one slice, however it is cut\n"
        "  limit: 32 delay slots per core\n"
        "  hint: shorten the delays into fc1 (longest: 40 steps), or use target loihi1 or loihi1-davies or loihi2"
    )


def test_too_many_cores() -> None:
    assert refusal(chain((8, 6, 4)), one_core(core__neurons=3)) == (
        "does-not-fit: the network needs more cores than toy has\n"
        "  where: fc1 (largest: 2 of 4 slices)\n"
        "  needed: 4 cores (4 chips)\n"
        "  limit: 1 cores (1 chips of 1 usable cores)\n"
        "  hint: make fc1 smaller, or use target loihi1 or loihi1-davies or loihi2"
    )


def test_the_first_population_in_order_is_named() -> None:
    assert "\n  where: fc1, in_axons\n" in refusal(chain((9, 400, 400, 4)), toy(core__in_axons=8, core__axon_sources=1))
