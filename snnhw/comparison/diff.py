"""Where two recorded runs differ first: what `snnhw diff` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnhw.errors import DataError
from snnhw.network import Array

RESULTS = ("output", "counts", "predictions")
SAME = 1e-9
"""Values that differ by less than this part are one: floats were added in another order."""

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Difference:
    """First neuron that differs, and what all recorded quantities were there.

    Args:
        population: its name; '(output)', '(counts)', '(values)' or '(predictions)' where only that result differs.
        quantity: 'spikes', 'u' or 'v', or the name of the result ('values': in the source's units).
        step: None for counts and predictions, which have no steps.
        neuron: index into the population's shape.
        values: quantity -> (first run, second run) at that place, for everything both runs recorded.
        differing: entries of this population and quantity that differ in all.
    """

    population: str
    quantity: str
    sample: int
    step: int | None
    neuron: tuple[int, ...]
    values: Mapping[str, tuple[float, float]]
    differing: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        lists = {name: list(pair) for name, pair in self.values.items()}
        return {**asdict(self), "neuron": list(self.neuron), "values": lists}

    def __str__(self) -> str:
        pairs = ", ".join(f"{name} {a} != {b}" if a != b else f"{name} {a}" for name, (a, b) in self.values.items())
        where = self.population + (f"[{', '.join(map(str, self.neuron))}]" if self.neuron else "")
        when = f"sample {self.sample}" + ("" if self.step is None else f", step {self.step}")
        inside = "" if self.population.startswith("(") else " in this population"
        more = f"{self.differing} {self.quantity} differ{inside}"
        return f"{where}, {when}: {pairs} ({more})"


def diff(a: Arrays, b: Arrays, order: Iterable[str] | None = None, *, common: bool = False) -> Difference | None:
    """The first difference of two runs, or None where they agree.

    Populations are taken in topological order; within the first that differs, the earliest sample and step; there
    spikes before u before v, and the lowest neuron. Where all populations agree, `output`, `counts` and
    `predictions` are compared, each if both runs have it.

    Args:
        a, b: arrays as a `Recorder` gives them ('spikes/NAME', 'u/NAME', 'v/NAME').
        order: population names in topological order; others follow in the order of `a`.
        common: what only one of them has is left out (relays, membranes that are read); else it is refused.

    Raises:
        DataError: nothing in common, other populations or quantities, or arrays of another shape.
    """
    names = list(dict.fromkeys([*(order or ()), *(key.partition("/")[2] for key in a if "/" in key)]))
    kinds = _kinds([*a, *b])
    shared = {(kind, name) for name in names for kind in kinds if f"{kind}/{name}" in a and f"{kind}/{name}" in b}
    if not shared:
        hint = "record both with --record spikes or --record state"
        raise DataError("nothing-recorded", "the two runs recorded nothing in common", hint=hint)
    odd = sorted(key for key in a.keys() ^ b.keys() if "/" in key)
    if odd and not common:
        raise DataError(
            "different-recordings",
            "the two runs did not record the same populations and quantities",
            where=", ".join(odd[:3]),
            hint="record both from the same artifact with the same --record",
        )
    for name in names:
        found = [(kind, *_first(a, b, f"{kind}/{name}")) for kind in kinds if (kind, name) in shared]
        different = [(index[:2], kinds.index(kind), kind, index, count) for kind, index, count in found if index]
        if different:
            _, _, kind, index, count = min(different)
            return Difference(name, kind, index[0], index[1], index[2:], _values(a, b, name, index), count)
    return _result(a, b)


def _kinds(keys: Iterable[str]) -> list[str]:
    """Recorded quantities: spikes, u, v, then other states of neuron models by name."""
    found = {key.partition("/")[0] for key in keys if "/" in key}
    first = ["spikes", "u", "v"]
    return [*(kind for kind in first if kind in found), *sorted(found.difference(first))]


def _result(a: Arrays, b: Arrays) -> Difference | None:
    """The first result that differs although all populations agree: a membrane that is read, or a fault of who wrote
    it. Outputs in different units are compared as values in the source's, but for the last digits of floats."""
    keys = ("values", "predictions") if not np.array_equal(a.get("scale", 1), b.get("scale", 1)) else RESULTS
    for key in keys:
        index, count = _first(a, b, key) if key in a and key in b else ((), 0)
        if index:
            step, neuron = (index[1], index[2:]) if key == "output" else (None, index[1:])
            values = {key: (a[key][index].item(), b[key][index].item())}
            return Difference(f"({key})", key, index[0], step, neuron, values, count)
    return None


def _first(a: Arrays, b: Arrays, key: str) -> tuple[tuple[int, ...], int]:
    """Index (sample, step, neuron…) of the first entry that differs (empty if none does), and how many do."""
    left, right = a[key], b[key]
    if left.shape != right.shape:
        raise DataError(
            "shapes-differ",
            "the two runs recorded arrays of different shape",
            where=key,
            needed=left.shape,
            limit=right.shape,
        )
    unequal = ~np.isclose(left, right, rtol=SAME, atol=SAME) if key == "values" else left != right
    count = int(np.count_nonzero(unequal))
    if not count:
        return (), 0
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(unequal)), unequal.shape)), count


def _values(a: Arrays, b: Arrays, name: str, index: tuple[int, ...]) -> dict[str, tuple[float, float]]:
    """Both runs at one place: everything that both recorded."""
    keys = {kind: f"{kind}/{name}" for kind in _kinds([*a, *b])}
    return {kind: (a[key][index].item(), b[key][index].item()) for kind, key in keys.items() if key in a and key in b}
