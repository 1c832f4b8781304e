"""What must hold of a placement, whoever made it: a mistake of the mapper must not become a count of cores."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

import numpy as np

from snnhw.errors import MappingError
from snnhw.machine import Machine
from snnhw.mapping.pack import combined
from snnhw.mapping.resources import limits, uses
from snnhw.mapping.route import snake
from snnhw.mapping.types import Mapping
from snnhw.network import Network


def verify_mapping(mapping: Mapping, target: Machine, network: Network[Any], *, recount: bool = True) -> None:
    """Every neuron sits on exactly one core, every core keeps within every limit, every route exists once.

    Args:
        recount: what each slice takes is counted anew from the network; False where that would take too long, at the
            opening of a file: then what the slices say is summed up.

    Raises:
        MappingError: 'invalid-mapping' with the rule, the place, what is there and the limit.
    """
    placed = {p.name: np.zeros(p.shape, np.int32) for p in network.computed}
    usable, per_chip = frozenset(snake(target).tolist()), target.chip.cores
    for part in mapping.slices:
        count = placed.get(part.population)
        if count is None:
            _broken("a slice of a population that is not there", part.population)
        inside = len(part.box) == count.ndim and all(
            0 <= start < stop <= size for (start, stop), size in zip(part.box, count.shape, strict=True)
        )
        if not inside or part.core < 0 or part.core % per_chip not in usable:
            _broken("a slice lies outside its population or the chip", part.population, f"core {part.core}, {part.box}")
        count[part.where] += 1
    for name, count in placed.items():
        if (count != 1).any():
            _broken("not every neuron sits on exactly one core", name)
    chips = max((part.core for part in mapping.slices), default=0) // per_chip + 1
    if not mapping.chips == chips <= target.chip.chips:
        _broken("the cores are on other chips than it says", "chips", f"{mapping.chips}, {chips}", target.chip.chips)
    for name, routes in Counter(projection.name for projection in network.projections).items():
        if routes > 1:
            _broken("not every route exists once", name, routes, 1)
    if recount:
        _require_counted(mapping, target, network)
    held: dict[int, dict[str, int]] = {}
    for part in mapping.slices:
        held[part.core] = combined(held.get(part.core, {}), dict(part.use))
    for resource, limit in limits(target).items():
        for core, use in held.items():
            if not 0 <= use.get(resource, -1) <= limit:
                _broken("a core is over a limit", f"core {core}, {resource}", use.get(resource, "not counted"), limit)


def _require_counted(mapping: Mapping, target: Machine, network: Network[Any]) -> None:
    """What slices say they take is what their boxes take."""
    boxes = {p.name: np.array([[(0, n) for n in p.shape]], np.int64) for p in network.inputs}
    boxes |= {p.name: np.array([part.box for part in mapping.of(p.name)], np.int64) for p in network.computed}
    for population in network.computed:
        counted = uses(population.name, network, target, boxes)
        for number, part in enumerate(mapping.of(population.name)):
            use = {resource: int(values[number]) for resource, values in counted.items()}
            if use != part.use:
                _broken("a slice takes other resources than it says", population.name, use, dict(part.use))


def _broken(rule: str, where: str, needed: object = None, limit: object = None) -> NoReturn:
    raise MappingError(
        "invalid-mapping",
        rule,
        where=where,
        needed=needed,
        limit=limit,
        hint="this is a defect of snnhw: please report it with the model",
    )
