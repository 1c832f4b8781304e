"""Which of the things that forward returns is the network's output, symbolically, and its place among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from snnhw.errors import SourceError
from snnhw.frontends.live.adapter import OUT, tensors
from snnhw.frontends.live.reader import Reader
from snnhw.frontends.live.values import Refused, Sum

Place = tuple[int, ...]
"""Indices into nested tuples and lists; a place that ends in -1 is the stack of the tensors there."""

STACKED = -1


def output_of(reader: Reader, results: list[Any]) -> tuple[Sum, Place]:
    """The one value that the calls return, and where; inner states and membranes beside spikes do not count.

    Of several calls it is the stack of what each returned.
    """
    each = [_of_call(reader, result) for result in results]
    if len(each) == 1:
        value, place = each[0]
        return reader.totals.get(value) or reader.looped(value) or value, place
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
    sent = {value: place for value, place in found.items() if all(term.port == OUT for term in value.terms)}
    chosen = sent or found
    if len(chosen) != 1:
        raise SourceError(
            "inputs-outputs",
            f"forward returns {len(chosen)} values of layers",
            where="forward",
            needed=", ".join(sorted({term.node for value in chosen for term in value.terms})) or "nothing",
            limit="one value, and states",
            hint="return the network's output only",
        )
    return next(iter(chosen.items()))


def _values(reader: Reader, result: Any, place: Place) -> Iterator[tuple[Sum, Place]]:
    """Values inside a result: tensors, lists of one tensor per step, nested."""
    if isinstance(result, Tensor):
        value = reader.value(result)
        if isinstance(value, Sum):
            yield value, place
        return
    if not isinstance(result, (tuple, list)) or hasattr(result, "_fields"):  # a named tuple is a state (Norse)
        return
    sums = [value for value in map(reader.value, result) if isinstance(value, Sum)]
    if len(sums) == len(result) > 1 and all(isinstance(value.label, int) for value in sums):
        nodes = [{(term.node, term.port) for term in value.terms} for value in sums]
        if all(names == nodes[0] for names in nodes):
            reader.count_steps(len(sums), "forward")
            yield reader.over_time(sums, "TN", "forward"), (*place, STACKED)
            return
    for number, part in enumerate(result):
        yield from _values(reader, part, (*place, number))
