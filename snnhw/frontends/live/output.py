"""Which of the things that forward returns is the network's output, symbolically, and its place among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT, tensors
from snnhw.frontends.live.axes import side_by_side
from snnhw.frontends.live.reader import Reader
from snnhw.frontends.live.values import INPUT, LEAD, Refused, Sum


@dataclass(frozen=True)
class Joined:
    """Several tensors, whose features are joined behind so many axes."""

    places: tuple[tuple[int | str, ...], ...]
    lead: int


Place = tuple[int | str, ...] | Joined
"""Indices and keys into nested tuples, lists and dictionaries; -1 at the end: the stack of the tensors there."""

STACKED = -1


def output_of(reader: Reader, results: list[Any]) -> tuple[Sum, Place]:
    """The one value that the calls return, and where.

    Inner states, membranes beside spikes, and values that another of them depends on (hidden layers) do not count.

    Of several calls it is the stack of what each returned.
    """
    each = [_of_call(reader, result) for result in results]
    if len(each) == 1:
        value, place = each[0]
        return reader.whole(value), place
    return reader.over_time([value for value, _ in each], "TN", "forward"), each[0][1]


def taken(results: list[Any], place: Place) -> Tensor:
    """The output of a run, in numbers."""
    if isinstance(place, Joined):
        return torch.cat([taken(results, one).flatten(place.lead) for one in place.places], -1)
    found = [_at(result, place) for result in results]
    return found[0] if len(found) == 1 else torch.stack(found)


def _at(result: Any, place: tuple[int | str, ...]) -> Any:
    for index in place:
        result = torch.stack(list(result)) if index == STACKED else result[index]
    return result


Found = dict[Sum, tuple[int | str, ...]]


def _of_call(reader: Reader, result: Any) -> tuple[Sum, Place]:
    found: Found = {}
    for value, place in _values(reader, result, ()):
        if any(term.node != INPUT for term in value.terms):  # the input passed through is no output
            found.setdefault(value, place)
    if not found:
        for tensor in tensors(result):
            if isinstance(reader.value(tensor), Refused):
                reader.sum_of(tensor, "forward")
    found = _last(reader, found)
    spikes = {value for value in found if all(term.node in reader.decided for term in value.terms)}
    sent = {value for value in found if all(term.port == OUT for term in value.terms)}
    chosen = {value: place for value, place in found.items() if value in (spikes or sent or found)}
    if len({frozenset(term.node for term in value.terms) for value in chosen}) != 1:
        if sent and len(chosen) > 1 and all(value.ending is None and not value.groups for value in chosen):
            with suppress(SourceError):
                return _joined(reader, chosen)
        raise SourceError(
            "inputs-outputs",
            f"forward returns {len(chosen)} values of layers",
            where="forward",
            needed=", ".join(sorted({term.node for value in chosen for term in value.terms})) or "nothing",
            limit="values read alike, and states or layers that they depend on, in tuples, lists or dictionaries",
            hint="return the network's output only",
        )
    return next(iter(chosen.items()))


def _joined(reader: Reader, chosen: Found) -> tuple[Sum, Place]:
    """Several outputs (heads) as one: all of the first, then all of the second."""
    flat = []
    for value in map(reader.seen, chosen):
        shape = reader.shape_of(value.terms[0].node)
        node = nir.Flatten({"input": np.array(shape)}, 0, -1)
        flat.append(value if len(shape) == 1 else reader.add("flatten", node, value, (prod(shape),)))
    shapes = [reader.shape_of(value.terms[0].node) for value in flat]
    found = side_by_side(reader, "outputs", flat, shapes, "forward")
    return found, Joined(tuple(chosen.values()), LEAD.get(found.axes, 1))


def _last(reader: Reader, found: Found) -> Found:
    """Those that no other one depends on."""
    behind = {value: _before(reader, value) for value in found}
    nodes = {value: {term.node for term in value.terms} for value in found}
    return {
        value: place
        for value, place in found.items()
        if INPUT in nodes[value]
        or not any(nodes[value] <= behind[other] and not nodes[other] <= behind[value] for other in found)
    }


def _before(reader: Reader, value: Sum) -> set[str]:
    """Names of all nodes that a value depends on, but for its own."""
    seen: set[str] = set()
    waiting = [term.node for term in value.terms]
    while waiting:
        node = reader.nodes.get(waiting.pop())
        for terms in node.calls.values() if node is not None else ():
            new = {term.node for term in terms} - seen
            seen |= new
            waiting += new
    return seen


def _values(reader: Reader, result: Any, place: tuple[int | str, ...]) -> Iterator[tuple[Sum, tuple[int | str, ...]]]:
    """Values inside a result: tensors, lists of one tensor per step, nested."""
    if isinstance(result, Tensor):
        value = reader.value(result)
        if isinstance(value, Sum):
            yield value, place
        return
    if isinstance(result, Mapping):
        for key, part in result.items():
            yield from _values(reader, part, (*place, key))
        return
    if not isinstance(result, (tuple, list)) or hasattr(result, "_fields"):  # a named tuple is a state (Norse)
        return
    sums = [value for value in map(reader.value, result) if isinstance(value, Sum)]
    if len(sums) == len(result) > 1 and all(isinstance(value.label, int) for value in sums):
        nodes = [{(term.node, term.port) for term in value.terms} for value in sums]
        if all(names == nodes[0] for names in nodes):
            yield reader.stacked(sums, "TN", "forward"), (*place, STACKED)
            return
    for number, part in enumerate(result):
        yield from _values(reader, part, (*place, number))
