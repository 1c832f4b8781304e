"""A placement that breaks a rule is refused, whoever made it; so is the mapper's own mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from snnhw.errors import MappingError
from snnhw.machine import load_target
from snnhw.mapping import pack, partition
from snnhw.mapping.place import place
from snnhw.mapping.resources import limits
from snnhw.mapping.types import Mapping
from snnhw.mapping.verify import verify_mapping
from snnhw.network import Network
from tests.unit.mapping.nets import chain
from tests.unit.mapping.toys import toy

NETWORK = chain((20, 300, 5))
CHIP = toy(core__neurons=100)
GOOD = place(NETWORK, CHIP)

Change = Callable[[Mapping], Mapping]


def first(**changes: Any) -> Change:
    return lambda m: replace(m, slices=(replace(m.slices[0], **changes), *m.slices[1:]))


BAD: list[tuple[Change, str, str]] = [
    (first(population="ghost"), "a slice of a population that is not there", "ghost"),
    (first(box=((200, 301),)), "a slice lies outside its population or the chip", "fc1"),
    (first(core=-1), "a slice lies outside its population or the chip", "fc1"),
    (first(core=1 << 20), "the cores are on other chips than it says", "chips"),
    (lambda m: replace(m, chips=2), "the cores are on other chips than it says", "chips"),
    (lambda m: replace(m, slices=m.slices[1:]), "not every neuron sits on exactly one core", "fc1"),
    (lambda m: replace(m, slices=(*m.slices, m.slices[0])), "not every neuron sits on exactly one core", "fc1"),
    (first(use=dict(GOOD.slices[1].use) | {"syn_words": 1}), "a slice takes other resources than it says", "fc1"),
    (
        lambda m: replace(m, slices=tuple(replace(part, core=m.slices[0].core) for part in m.slices)),
        "a core is over a limit",
        f"core {GOOD.slices[0].core}, neurons",
    ),
]


@pytest.mark.parametrize(("change", "rule", "where"), BAD, ids=[f"{rule}-{i}" for i, (_, rule, _) in enumerate(BAD)])
def test_broken_placements_are_refused(change: Change, rule: str, where: str) -> None:
    with pytest.raises(MappingError) as caught:
        verify_mapping(change(GOOD), CHIP, NETWORK)
    assert str(caught.value).startswith(f"invalid-mapping: {rule}\n  where: {where}\n")
    assert str(caught.value).endswith("hint: this is a defect of snnhw: please report it with the model")


def test_without_a_recount_slices_are_taken_at_their_word() -> None:
    verify_mapping(GOOD, CHIP, NETWORK, recount=False)
    silent = first(use={})(GOOD)
    with pytest.raises(MappingError, match="a core is over a limit") as caught:
        verify_mapping(silent, CHIP, NETWORK, recount=False)
    assert caught.value.needed == "not counted"


def test_a_route_that_is_there_twice() -> None:
    again: Network[Any] = replace(NETWORK, projections=(*NETWORK.projections, NETWORK.projections[0]))
    with pytest.raises(MappingError, match="not every route exists once") as caught:
        verify_mapping(GOOD, CHIP, again)
    assert (caught.value.needed, caught.value.limit) == (2, 1)


def test_limits_are_those_of_the_file() -> None:
    assert limits(CHIP)["neurons"] == 100
    assert (limits(load_target("loihi1"))["neurons"], limits(load_target("loihi1"))["in_axons"]) == (1024, 4096)


def test_a_population_two_percent_too_large_for_a_core_is_cut() -> None:
    assert len(place(chain((20, 102, 5)), CHIP).of("fc1")) == 2
    assert len(place(chain((20, 100, 5)), CHIP).of("fc1")) == 1


def test_a_mapper_that_overfills_cores_by_two_percent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(target: Any) -> dict[str, int]:
        return {name: limit + limit // 50 for name, limit in limits(target).items()}

    for module in (partition, pack):
        monkeypatch.setattr(module, "limits", generous)
    with pytest.raises(MappingError) as caught:
        place(chain((20, 102, 5)), CHIP)
    assert str(caught.value).startswith("invalid-mapping: a core is over a limit\n  where: core 0, neurons\n")
    assert (caught.value.needed, caught.value.limit) == (102, 100)
