"""NIR files (HDF5): ours and other frameworks' in, ours out.

A file of ours carries Semantics and Deployment as metadata. For others the user names the dialect (`dialects`), the
single fields of Semantics, or both; a field that changes the spikes and that nobody said is asked for, by name.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import nir
import numpy as np

from snnhw import files
from snnhw.cautions import Caution
from snnhw.errors import SourceError
from snnhw.frontends.graph import NEURONS, READOUTS, outputs, readout_of, shows_fit, validate
from snnhw.frontends.nir.delays import split_delays
from snnhw.frontends.nir.dialects import as_computed, fitting, translate
from snnhw.frontends.nir.fields import IRRELEVANT, QUESTIONS, known_fields, merged, open_questions
from snnhw.frontends.nir.graph import tidy_graph
from snnhw.frontends.nir.read import read_graph
from snnhw.frontends.nir.shapes import is_whole, shapes, with_shapes
from snnhw.frontends.options import NIR_DIALECTS, SourceOptions, checked, refuse_unused
from snnhw.frontends.own import NeuronNode, require_nir
from snnhw.frontends.source import Source
from snnhw.limits import MAX_BYTES
from snnhw.readout import rule_of
from snnhw.semantics import METADATA_KEY, Deployment, Semantics, from_metadata, to_metadata

Rows = dict[str, dict[str, Any]]


def write_nir(graph: nir.NIRGraph, path: str | Path, own: bool = False) -> None:
    """Write atomically (`files.write`); `nir.read` takes the file."""
    files.write({Path(path): nir_bytes(graph, own)})


def nir_bytes(graph: nir.NIRGraph, own: bool = False) -> bytes:
    """The file's bytes, made in memory: the HDF5 library ends the process where a disk is full.

    Args:
        own: write nodes that only snnhw knows, too; else raises SourceError 'cannot-say' for the first of them.
    """
    if not own:
        require_nir(graph)
    out = io.BytesIO()
    nir.write(out, graph if is_whole(graph) else with_shapes(graph))
    return out.getvalue()


def load_nir(path: str | Path, options: SourceOptions | None = None) -> Source:
    """Read, translate and validate.

    Args:
        options: dialect, semantics, steps, encoding, readout, output_node; files of ours need none of them.

    Raises:
        SourceError: for damaged files, unknown nodes, and what neither the file nor the user says.
    """
    path = Path(path)
    graph = read_graph(path, MAX_BYTES)
    origin = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return from_graph(graph, options or SourceOptions(), origin)


def from_graph(graph: nir.NIRGraph, options: SourceOptions, origin: Mapping[str, Any]) -> Source:
    """A NIR graph as a source; `origin` has at least the name under which refusals speak of it, as `file`."""
    where = str(origin["file"])
    tidy = tidy_graph(graph, exact=METADATA_KEY in graph.metadata)
    said = checked("semantics", options.said("semantics"), "flag") if options.said("semantics") is not None else {}
    said = known_fields(said, "--semantics")
    if METADATA_KEY in tidy.metadata:
        source = _ours(tidy, options, said, where)
    else:
        source = _foreign(tidy, options, said, where)
    source = replace(source, warnings=(*source.warnings, *_contradictions(tidy, source.graph)))
    own: dict[str, Any] = {**origin, **source.origin}
    ends = sorted(name for name in tidy.nodes.keys() - graph.nodes.keys() if _is_end(tidy.nodes[name]))
    if ends:
        note = "the file has no such Input or Output node: roots and leaves of the graph are read as such"
        own["flags"] = {**own.get("flags", {}), "ends": {"value": ", ".join(ends), "from": "assumed", "note": note}}
    return replace(source, origin=own)


def _contradictions(said: nir.NIRGraph, graph: nir.NIRGraph) -> list[Caution]:
    """Convolutions whose input_shape is not the shape of what arrives: what arrives counts."""
    found = []
    for name, node in said.nodes.items():
        shape = getattr(node, "declared", getattr(node, "input_shape", None))
        real = getattr(graph.nodes.get(name), "input_shape", None)
        if shape is None or real is None or np.array_equal(np.ravel(shape), np.ravel(real)):
            continue
        told, arrives = (tuple(int(n) for n in np.ravel(value)) for value in (shape, real))
        what = f"its input_shape says {told}, and {arrives} arrives: what arrives counts"
        found.append(Caution("input-shape", name, what, fix="write the node's own input_shape, or the right Input"))
    return found


def _losses(graph: nir.NIRGraph) -> list[Caution]:
    """What exporters leave of a sum whose edges they lose (a residual connection): an input named after the node that
    it feeds, or a layer that reaches the output beside the last one."""
    found = []
    pairs = set(graph.edges)
    for name, node in sorted(graph.nodes.items()):
        fed = [post for pre, post in pairs if pre == name and name == f"input_{post}"]
        ends = sorted(pre for pre, post in pairs if post == name) if isinstance(node, nir.Output) else []
        if (isinstance(node, nir.Input) and fed) or len(ends) > 1:
            size = (
                f"{len(ends)} edges into an output: {', '.join(ends)}" if ends else f"a second input, of {fed[0]} alone"
            )
            what = "the graph looks as exporters leave a sum (a residual connection) whose edges they lose"
            fix = "compile the module instead of the file, if it has such a sum"
            found.append(Caution("lost-residual", name, what, size, fix))
    return found


def _is_end(node: nir.NIRNode) -> bool:
    return isinstance(node, (nir.Input, nir.Output))


def _ours(graph: nir.NIRGraph, options: SourceOptions, said: Mapping[str, Any], where: str) -> Source:
    """The file says all; T, encoding and single fields of Semantics may be others."""
    refuse_unused(
        set(options.given) & {"dialect", "output_node"},
        where,
        "a file that says this itself, by its metadata",
    )
    semantics, deployment = from_metadata(graph.metadata, where)
    validate(graph)
    graph = split_delays(graph, semantics.dt)
    rows: Rows = {}
    if said:
        semantics = merged({**vars(semantics)}, said, where)
        rows["semantics"] = {"value": dict(said), "from": "flag"}
    _require_nodes(semantics, graph, where)
    shapes(graph)  # bounded, and they fit
    changes = {
        name: checked(name, options.said(name), "flag")
        for name in ("steps", "encoding", "readout")
        if options.said(name) is not None
    }
    rows |= {name: {"value": value, "from": "flag"} for name, value in changes.items()}
    deployment = replace(deployment, **changes)
    graph.metadata = {**graph.metadata, **to_metadata(semantics, deployment)}
    return Source(graph, semantics, deployment, {"flags": rows} if rows else {})


def _foreign(graph: nir.NIRGraph, options: SourceOptions, said: Mapping[str, Any], where: str) -> Source:
    """Another framework's file: by dialect, or with every field that matters said."""
    rows: Rows = {}
    if said:
        rows["semantics"] = {"value": dict(said), "from": "flag"}
    name = options.said("dialect")
    if name is None:
        missing = open_questions(graph, said)
        if missing:
            raise _question(graph, missing, where)
        semantics = merged(IRRELEVANT, said, where)
    else:
        name = checked("dialect", name, "flag")
        translated = translate(graph, name, said, where)
        graph, semantics = translated.graph, as_computed(merged(translated.fields, said, where), name)
        rows["dialect"] = {"value": name, "from": "flag"}
        rows |= {key: {"value": v, "from": "assumed", "note": why} for key, (v, why) in translated.notes.items()}
    validate(graph)
    graph = split_delays(with_shapes(graph), semantics.dt)
    _require_nodes(semantics, graph, where)
    deployment, more = _deployment(graph, options, where)
    graph.metadata = to_metadata(semantics, deployment)
    origin = {"dialect": name or "said by --semantics", "flags": {**rows, **more}}
    said_so = _losses(graph) if name in (None, "nir") else []  # the exporters of others are known, and refused
    return Source(graph, semantics, deployment, origin, warnings=tuple(said_so))


def _question(graph: nir.NIRGraph, missing: list[str], where: str) -> SourceError:
    like = fitting(graph)
    fit = f"; its numbers are as {' or '.join(like)} writes them" if like else ""
    return SourceError(
        "no-semantics",
        "a NIR graph does not determine the spikes, and this one does not carry snnhw metadata",
        where=where,
        needed="; ".join(QUESTIONS[name] for name in missing),
        limit=f"--dialect {'|'.join(NIR_DIALECTS)}{fit}",
        hint="name the framework that wrote it by --dialect, or say these fields by --semantics FILE.json",
    )


def _require_nodes(semantics: Semantics, graph: nir.NIRGraph, where: str) -> None:
    strangers = sorted(set(semantics.nodes) - set(graph.nodes))
    if strangers:
        raise SourceError(
            "bad-semantics", "the semantics speak of nodes that do not exist", where=where, needed=strangers[0]
        )
    stateless = sorted(n for n in semantics.nodes if not isinstance(graph.nodes[n], (*NEURONS, *READOUTS)))
    if stateless:
        raise SourceError(
            "bad-semantics",
            "the semantics speak of a node without a membrane",
            where=where,
            needed=f"{stateless[0]}: {type(graph.nodes[stateless[0]]).__name__}",
            limit=", ".join(kind.__name__ for kind in (*NEURONS, *READOUTS) if kind is not NeuronNode),
            hint="name the neuron behind it",
        )


def _deployment(graph: nir.NIRGraph, options: SourceOptions, where: str) -> tuple[Deployment, Rows]:
    """T from the flag or the data; encoding 'spikes' unless said; the readout that the graph has."""
    shapes = [
        tuple(int(n) for n in node.input_type["input"]) for node in graph.nodes.values() if isinstance(node, nir.Input)
    ]
    shape = shapes[0] if len(shapes) == 1 else (sum(prod(one) for one in shapes),)  # several: flat, one after another
    rows: Rows = {}
    for key in ("steps", "encoding", "readout", "output_node"):
        if options.said(key) is not None:
            rows[key] = {"value": checked(key, options.said(key), "flag"), "from": "flag"}
    if "steps" not in rows:
        data = options.data
        if data is None or len(data) != len(shape) + 2 or tuple(data[2:]) != shape:
            raise SourceError(
                "needs-flag",
                "the file does not say how many steps a sample has",
                where=where,
                needed="--steps",
                hint=f"give --steps T, or samples of shape (samples, T, {', '.join(map(str, shape))})",
            )
        rows["steps"] = {"value": int(data[1]), "from": "samples"}
    output = _output(graph, rows.get("output_node", {}).get("value"), where)
    own = readout_of(graph, output)
    readout = rows.get("readout", {}).get("value", own)
    if not shows_fit(own, rule_of(readout)):
        raise SourceError(
            "flag-contradicts",
            "--readout contradicts what the output shows",
            where=where,
            needed=f"--readout {readout}",
            limit=f"the graph says {own}",
            hint="leave the flag out",
        )
    encoding = rows.get("encoding", {}).get("value", "spikes")
    several = output if len(outputs(graph)) > 1 else None
    return Deployment(rows["steps"]["value"], encoding, shape, readout, output=several), rows


def _output(graph: nir.NIRGraph, said: str | None, where: str) -> str:
    names = outputs(graph)
    if said is not None and said not in names:
        raise SourceError(
            "bad-flag",
            "--output-node has a value it cannot have",
            where=where,
            needed=said,
            limit=", ".join(names),
        )
    if said is None and len(names) > 1:
        raise SourceError(
            "needs-flag",
            "the file does not say which of its outputs predictions are read from",
            where=where,
            needed="--output-node",
            limit=", ".join(names),
            hint="give --output-node NAME",
        )
    return said or names[0]
