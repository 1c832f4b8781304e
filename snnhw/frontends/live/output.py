"""Which of the things that forward returns is the network's output, symbolically, and its place among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT, tensors
from snnhw.frontends.live.reader import Reader
from snnhw.frontends.live.values import INPUT, Refused, Sum

Place = tuple[int | str, ...]
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
    found = [_at(result, place) for result in results]
    return found[0] if len(found) == 1 else torch.stack(found)


def _at(result: Any, place: Place) -> Any:
    for index in place:
        result = torch.stack(list(result)) if index == STACKED else result[index]
    return result


def _of_call(reader: Reader, result: Any) -> tuple[Sum, Place]:
    found: dict[Sum, Place] = {}
    for value, place in _values(reader, result, ()):
        if value.terms:
            found.setdefault(value, place)
    if not found:
        for tensor in tensors(result):
            if isinstance(reader.value(tensor), Refused):
                reader.sum_of(tensor, "forward")
    found = _last(reader, found)
    chosen = {value: place for value, place in found.items() if all(term.port == OUT for term in value.terms)} or found
    if len({frozenset(term.node for term in value.terms) for value in chosen}) != 1:
        raise SourceError(
            "inputs-outputs",
            f"forward returns {len(chosen)} values of layers",
            where="forward",
            needed=", ".join(sorted({term.node for value in chosen for term in value.terms})) or "nothing",
            limit="one value, and states or layers that it depends on, in tuples, lists or dictionaries",
            hint="return the network's output only",
        )
    return next(iter(chosen.items()))


def _last(reader: Reader, found: dict[Sum, Place]) -> dict[Sum, Place]:
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


def _values(reader: Reader, result: Any, place: Place) -> Iterator[tuple[Sum, Place]]:
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
