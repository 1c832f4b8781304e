"""Bits of each weight array: `--weight-bits 4` or `conv1=8,fc=4,*=5`, against the source's layer names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from snnhw.errors import QuantizeError
from snnhw.network import Network, Projection

WeightBits = int | str | Mapping[str, int] | None
"""One width for the body, patterns with widths (as text or mapping; the first that matches counts), or None."""

WHOLE_NUMBER = re.compile(r"[+-]?\d+")

FORM = "a number, or NAME=BITS,... with names of layers or modules that snnhw explain lists (* and ? match any)"


def bits_of_arrays(network: Network[Any], wanted: WeightBits, most: int) -> dict[str, int]:
    """Weight array -> bits of a stored weight, sign included; arrays that nothing names have the full width.

    A number alone is that of the body: the first and the last layer keep the full width, `*=4` does not spare them.

    Constants (`Network.constants`) always have it: a bias that reaches a filtered or late current is one, and a bias is
    no weight.

    Args:
        network: lowered; an array is known by every layer of the source that it is composed of (`Network.names`).
        most: bits of the target's weights.

    Raises:
        QuantizeError: text that says no widths, a width that the target does not have, a pattern that matches no
            layer, or two widths for one array.
    """
    rules = _rules(wanted)
    body = isinstance(wanted, int) or (isinstance(wanted, str) and WHOLE_NUMBER.fullmatch(wanted.strip()) is not None)
    for _, bits in rules:
        if not 2 <= bits <= most:
            raise QuantizeError(
                "bad-weight-bits",
                "the target does not have weights of that width",
                where=f"--weight-bits {_said(wanted)}",
                needed=bits,
                limit=f"2 to {most}",
                hint=f"choose 2 to {most}",
            )
    constants = network.constants
    weights = [array for array in network.stored if array not in constants]
    known = {name for array in weights for name in network.names(array)}
    for pattern, _ in rules:
        if not any(_covers(pattern, name) for name in known):
            raise QuantizeError(
                "unmatched-weight-bits",
                f"no layer with weights is named {pattern}",
                where=f"--weight-bits {_said(wanted)}",
                needed=pattern,
                limit=", ".join(sorted(known)),
                hint="snnhw explain lists the layers of each weight array",
            )
    found = {array: _bits(array, network.names(array), rules, most) for array in weights}
    outer = ends(network) if body else frozenset()
    if not outer.issuperset(array for array in weights if network.layers.get(array)):  # else there is no body
        found |= dict.fromkeys(outer, most)
    return found | dict.fromkeys(constants, most)


def ends(network: Network[Any]) -> frozenset[str]:
    """Weight arrays of the first and the last layer: the nearest to the inputs and to the readout that are layers of
    the source (no identity shortcuts or relays)."""
    first = _nearest(network, {p.name for p in network.inputs}, network.out_of, "post")
    return first | _nearest(network, {network.readout.population}, network.into, "pre")


def _nearest(
    network: Network[Any], start: set[str], ways: Callable[[str], Iterable[Projection]], end: str
) -> frozenset[str]:
    """Arrays of layers on the shortest ways from some populations."""
    seen: set[str] = set()
    while start - seen:
        links = [q for name in sorted(start - seen) for q in ways(name)]
        found = {q.op.weight for q in links if q.op.parts and network.layers.get(q.op.weight)}
        if found:
            return frozenset(found)
        seen, start = seen | start, {getattr(q, end) for q in links}
    return frozenset()


def _bits(array: str, names: tuple[str, ...], rules: list[tuple[str, int]], most: int) -> int:
    """The one width of an array whose layers are these: of the first pattern that names any of them.

    A pattern for some of its layers only must not say another width; one for all of them (`*`) just comes too late.
    """
    found: dict[str, int] = {}
    for pattern, bits in rules:
        named = [name for name in names if _covers(pattern, name) and name not in found]
        if not found or not all(_covers(pattern, name) for name in names):
            found |= dict.fromkeys(named, bits)
    if len(set(found.values())) > 1:
        raise QuantizeError(
            "two-weight-bits",
            "layers that are stored as one weight array have two widths",
            where=array,
            needed=", ".join(f"{name}={bits}" for name, bits in found.items()),
            limit="one width",
            hint="give them the same width",
        )
    return next(iter(found.values()), most)


def _covers(pattern: str, name: str) -> bool:
    """Whether a pattern matches a layer's name or that of a module it is inside of: `stage1` covers `stage1.conv`."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _rules(wanted: WeightBits) -> list[tuple[str, int]]:
    """Patterns with their widths, in order."""
    if wanted is None:
        return []
    if isinstance(wanted, Mapping):
        pairs = [(str(pattern), bits) for pattern, bits in wanted.items()]
        if any(isinstance(bits, bool) or not isinstance(bits, int) for _, bits in pairs):
            raise _malformed(wanted)
        return pairs
    text = str(wanted).strip()
    if WHOLE_NUMBER.fullmatch(text):
        return [("*", int(text))]
    parts = [part.rpartition("=") for part in text.split(",")]
    if not all(pattern.strip() and re.fullmatch(r"\s*[+-]?\d+\s*", bits) for pattern, _, bits in parts):
        raise _malformed(wanted)
    found = [(pattern.strip(), int(bits)) for pattern, _, bits in parts]
    if len({pattern for pattern, _ in found}) < len(found):
        raise _malformed(wanted, "a name has two widths")
    return found


def _malformed(wanted: WeightBits, what: str = "this says no widths of weights") -> QuantizeError:
    return QuantizeError("bad-weight-bits", what, where=f"--weight-bits {_said(wanted)}", limit=FORM)


def _said(wanted: WeightBits) -> str:
    return ",".join(f"{k}={v}" for k, v in wanted.items()) if isinstance(wanted, Mapping) else str(wanted)
