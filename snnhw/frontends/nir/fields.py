"""Single fields of Semantics that a user says (`--semantics`), and the question asked where they are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import nir

from snnhw.errors import SourceError
from snnhw.frontends.graph import MEMBRANES, READOUTS
from snnhw.limits import is_file
from snnhw.semantics import PLAIN, Semantics

MAX_BYTES = 1 << 24

NAMES = tuple(f.name for f in fields(Semantics))

QUESTIONS = {
    "dt": "dt (seconds of a step)",
    "reset": "reset (zero, v_reset, subtract)",
    "reset_timing": "reset_timing (same_step, next_step, prepaid)",
    "threshold": "threshold (gt: fires at v > threshold, ge: at v >= threshold)",
    "multispike": "multispike (off, or the most spikes a neuron sends in one step)",
    "v_min": "v_min (lower clip of the membrane, or null)",
    "integrator": "integrator (euler: 1 - dt/tau, exp: exp(-dt/tau))",
    "current_order": "current_order (same_step, next_step: which synaptic current the membrane sees)",
    "v_init": "v_init (membrane at the start: a number, v_reset, v_leak)",
}
"""Field -> what is asked, for a file that says nothing of it."""

_OF_ALL = ("dt", "time_layout", "nodes")
"""Fields that a user says of the whole network only."""

IRRELEVANT: dict[str, Any] = {**PLAIN, "dt": 1.0, "nodes": {}}
"""What a field is set to where nothing in the graph depends on it."""


def read_fields(text: str) -> dict[str, Any]:
    """Fields from --semantics: the path of a JSON file, or the JSON object itself.

    Raises:
        SourceError: 'no-such-file', 'bad-semantics'.
    """
    where = "--semantics"
    if not text.lstrip().startswith("{"):
        path = Path(text)
        where = path.name
        if not is_file(path):
            raise SourceError("no-such-file", "there is no such file", where=text)
        if path.stat().st_size > MAX_BYTES:
            raise SourceError("bad-semantics", "the semantics file is too large", where=where, limit=MAX_BYTES)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError("bad-semantics", f"the semantics file cannot be read: {error}", where=where) from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError("bad-semantics", f"the semantics are not JSON: {error}", where=where) from None
    return known_fields(content, where)


def known_fields(content: Any, where: str) -> dict[str, Any]:
    """A copy of fields that exist and values that they can have; raises SourceError for others."""
    found = _fields(content, where)
    nodes = found.get("nodes", {})
    if not isinstance(nodes, Mapping):
        raise _not_an_object("nodes", nodes, where)
    for name, value in found.items():
        _require_meaning({**IRRELEVANT, "reset": "subtract"} | ({} if name == "nodes" else {name: value}), where)
    if "nodes" in found:
        found["nodes"] = {str(node): _of_node(row, f"{where}: nodes.{node}") for node, row in nodes.items()}
    return found


def _of_node(content: Any, where: str) -> dict[str, Any]:
    found = _fields(content, where)
    common = sorted(set(found) & set(_OF_ALL))
    if common:
        raise SourceError(
            "bad-semantics",
            "no node has a field of the whole network of its own",
            where=where,
            needed=", ".join(common),
            limit=", ".join(name for name in NAMES if name not in _OF_ALL),
        )
    return found


def _require_meaning(said: dict[str, Any], where: str) -> None:
    """Raise for a value that its field cannot have."""
    try:
        Semantics(**said)
    except SourceError as error:
        error.where = where
        raise


def _fields(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise _not_an_object("the semantics", content, where)
    found: dict[str, Any] = {str(name): value for name, value in content.items()}
    unknown = sorted(set(found) - set(NAMES))
    if unknown:
        raise SourceError(
            "bad-semantics",
            "the semantics have a field that does not exist",
            where=where,
            needed=", ".join(unknown),
            limit=", ".join(NAMES),
        )
    return found


def _not_an_object(what: str, value: Any, where: str) -> SourceError:
    return SourceError(
        "bad-semantics",
        f"{what} must be a JSON object",
        where=where,
        needed=type(value).__name__,
        limit='{"field": value}',
    )


def merged(base: Mapping[str, Any], said: Mapping[str, Any], where: str) -> Semantics:
    """Semantics with single fields over a full set; a hard reset needs no timing of its own.

    Raises:
        SourceError: 'bad-semantics' for a value that cannot be.
    """
    nodes = {name: dict(row) for name, row in base.get("nodes", {}).items()}
    for name, row in said.get("nodes", {}).items():
        nodes[name] = timed({**nodes.get(name, {}), **row}, row)
    try:
        return Semantics(**timed({**base, **said, "nodes": nodes}, said))
    except SourceError as error:
        error.where = where
        raise


def untimed(said: Mapping[str, Any]) -> bool:
    """Whether a hard reset is said, and no timing of it: it has none."""
    return said.get("reset", "subtract") != "subtract" and "reset_timing" not in said


def timed(full: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """All fields, where those said have a hard reset without a timing."""
    return {**full, "reset_timing": PLAIN["reset_timing"]} if untimed(said) else full


def open_questions(graph: nir.NIRGraph, said: Mapping[str, Any]) -> list[str]:
    """Fields that change this graph's spikes and that nobody has said."""
    return [name for name in QUESTIONS if name not in said and _matters(name, graph, said)]


def _matters(name: str, graph: nir.NIRGraph, said: Mapping[str, Any]) -> bool:
    kinds = {type(node) for node in graph.nodes.values()}
    spiking, filters = set(MEMBRANES), set(READOUTS)
    decaying = {nir.LIF, nir.LI, nir.CubaLIF, nir.CubaLI}
    match name:
        case "dt":
            return bool(kinds & (spiking | filters | {nir.Delay}))
        case "integrator":
            return bool(kinds & decaying)
        case "reset_timing":
            return bool(kinds & spiking) and said.get("reset", "subtract") == "subtract"
        case "current_order":
            return bool(kinds & {nir.CubaLIF, nir.CubaLI}) or bool(kinds & {nir.I, nir.LI} and kinds & spiking)
        case "v_init":
            return bool(kinds & (spiking | filters))
        case _:
            return bool(kinds & spiking)
