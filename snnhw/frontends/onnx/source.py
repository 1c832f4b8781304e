"""An ONNX file of one step of a spiking network as a source: state pairs, NIR graph, Semantics."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from snnhw.errors import SourceError
from snnhw.frontends.check import check_import, require_equal
from snnhw.frontends.forms import unknown
from snnhw.frontends.nir.file import from_graph
from snnhw.frontends.onnx.ann import input_shape
from snnhw.frontends.onnx.assembly import DT, Assembly
from snnhw.frontends.onnx.constants import Constants
from snnhw.frontends.onnx.file import node_name, read_model, text
from snnhw.frontends.onnx.replay import StepReplay
from snnhw.frontends.onnx.step import StepReader
from snnhw.frontends.options import SourceOptions, checked
from snnhw.frontends.recognise import recognise
from snnhw.frontends.source import Source
from snnhw.semantics import PLAIN

_MARKS = re.compile(r"[_.:/]*(in|out|new|next|old|prev|before|after|input|output|t)$", re.IGNORECASE)


def is_step(path: str | Path) -> bool:
    """Whether a file's graph takes state beside its input."""
    model = read_model(path)
    held = {tensor.name for tensor in model.graph.initializer}
    return sum(value.name not in held for value in model.graph.input) > 1


def load_step(path: str | Path, options: SourceOptions) -> Source:
    """The spiking network of which the file is one step; its state is zero before the first one.

    Args:
        options: T, encoding, readout, output_node, and `state`: pairs 'IN:OUT' of a state and its new value, told by
            names, else by order, where none are given; the step says everything else.

    Raises:
        SourceError: a node, state or comparison that is not read, by name.
    """
    path = Path(path)
    model = read_model(path)
    constants = Constants(model, path.name)
    inputs = [value for value in model.graph.input if value.name not in constants]
    outputs = [text(value.name) for value in model.graph.output]
    said = checked("state", options.said("state"), "flag").split(",") if options.said("state") is not None else []
    data, states, shown_values = pairs([text(value.name) for value in inputs], outputs, said, path.name)
    shapes = {text(value.name): input_shape(value, path.name) for value in inputs}
    given = {n: unknown("input" if n == data else "state", n, shape) for n, shape in shapes.items()}
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise SourceError(
            "bad-shape",
            "the inputs of the ONNX step are for different numbers of samples",
            where=path.name,
            needed=", ".join(f"{name} {shape}" for name, shape in shapes.items()),
            limit="one batch, the first dimension, for all",
            hint="export all inputs with the same batch",
        )
    reader = StepReader(constants, given, shapes=dict(shapes))
    for index, node in enumerate(model.graph.node):
        reader.visit(node, node_name(node, index))
    for before, after in states.items():
        _require_same(before, after, shapes[before], reader.form(after, after).shape)
    new = {before: reader.form(after, after) for before, after in states.items()}
    shown = {name: reader.form(name, name) for name in shown_values}
    found = recognise(reader.comparisons, reader.floors, new, shown)
    reader.edges = [(found.renaming(atom), post) for atom, post in reader.edges]
    assembly = Assembly(reader, found, shapes[data])
    graph, nodes = assembly.graph()
    origin = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "states": states}
    asked = {**PLAIN, "dt": DT}
    source = from_graph(graph, replace(options, semantics={**asked, "nodes": nodes}, state=None), origin)
    fired = {name: reader.comparisons[key] for (kind, key), name in assembly.names.items() if kind == "spike"}
    named = {**{name: comparison.value for name, comparison in fired.items()}, **assembly.shown}
    inverted = frozenset(name for name, comparison in fired.items() if comparison.inverted)
    replay = StepReplay(model, data, shapes, states, named, inverted, source.deployment.steps)
    source = replace(source, replay=replay)
    check = require_equal(check_import(source, replay.example))
    flags = {key: row for key, row in source.origin.get("flags", {}).items() if key != "semantics"}
    flags |= {"state": {"value": options.said("state"), "from": "flag"}} if said else {}
    return replace(source, origin={**origin, "flags": flags, "check": check.to_dict()})


def pairs(
    inputs: Sequence[str], outputs: Sequence[str], said: Sequence[str], file: str
) -> tuple[str, dict[str, str], list[str]]:
    """(the input that is no state, state -> its new value, other outputs): as said, else by names, else by order.

    Where every output is the new value of a state, the first one is shown too (spikes that feed back, a membrane).
    """
    states = dict(_said(pair, inputs, outputs, file) for pair in said) if said else _by_name(inputs, outputs)
    shown = [name for name in outputs if name not in states.values()]
    if not states:
        first = max(len(outputs) - len(inputs) + 1, 0)
        states, shown = dict(zip(inputs[1:], outputs[first:], strict=False)), list(outputs[:first])
    shown = shown or list(outputs[:1])
    rest = [name for name in inputs if name not in states]
    if len(rest) != 1 or len(set(states.values())) != len(states) or not states:
        raise SourceError(
            "state-pairs",
            "which outputs of the ONNX step are the new values of which inputs is not told",
            where=file,
            needed=f"inputs {', '.join(inputs)}; outputs {', '.join(outputs)}",
            limit="one input that is no state, and a new value for each state",
            hint="export forward(x, state1, ...) -> (spikes, state1, ...), or say --state IN:OUT for each",
        )
    return rest[0], states, shown


def _said(pair: str, inputs: Sequence[str], outputs: Sequence[str], file: str) -> tuple[str, str]:
    for place in (at for at, letter in enumerate(pair) if letter == ":"):
        if pair[:place] in inputs and pair[place + 1 :] in outputs:
            return pair[:place], pair[place + 1 :]
    raise SourceError(
        "bad-flag",
        "--state names no input and output of the ONNX step",
        where=file,
        needed=pair,
        limit=f"IN:OUT with IN of {', '.join(inputs)} and OUT of {', '.join(outputs)}",
    )


def _by_name(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Pairs of the same name but for marks like `_in` and `_out`; empty unless all but one input have one."""
    stems = [_stem(name) for name in outputs]
    found = {n: outputs[stems.index(_stem(n))] for n in inputs if stems.count(_stem(n)) == 1}
    return found if len(found) == len(inputs) - 1 else {}


def _stem(name: str) -> str:
    while (shorter := _MARKS.sub("", name)) not in (name, ""):
        name = shorter
    return name.lower()


def _require_same(before: str, after: str, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    if one != other:
        raise SourceError(
            "state-pairs",
            "a state of the ONNX step and its new value have different shapes",
            where=f"{before}:{after}",
            needed=one,
            limit=other,
            hint="say --state IN:OUT for each state",
        )
