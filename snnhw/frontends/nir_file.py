"""NIR files (HDF5): ours in and out. Other frameworks' files are refused for want of semantics, by name."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import h5py
import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import FILTERS, LINEAR, NEURONS, unknown_node, validate
from snnhw.frontends.source import Source
from snnhw.limits import MAX_BYTES
from snnhw.semantics import from_metadata


def write_nir(graph: nir.NIRGraph, path: str | Path) -> None:
    """Write atomically; `nir.read` takes the file."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        nir.write(temporary, graph)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError("cannot-write", f"the file cannot be written: {reason}", where=str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def load_nir(path: str | Path) -> Source:
    """Read and validate; raises SourceError for damaged files, unknown nodes and missing semantics."""
    path = Path(path)
    graph = _read(path)
    validate(graph)
    semantics, deployment = from_metadata(graph.metadata, path.name)
    strangers = sorted(set(semantics.nodes) - set(graph.nodes))
    if strangers:
        raise SourceError(
            "bad-semantics", "the snnhw metadata speak of nodes that do not exist", where=path.name, needed=strangers[0]
        )
    origin = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Source(graph, semantics, deployment, origin)


def _read(path: Path) -> nir.NIRGraph:
    try:
        with h5py.File(path, "r") as file:
            size = _bytes(file, path.name)
            _known_types(file["node/nodes"], path.name)
        if size > MAX_BYTES:
            raise SourceError(
                "too-big",
                "the file's arrays are too large",
                where=path.name,
                needed=f"{size} bytes",
                limit=f"{MAX_BYTES} bytes",
            )
        return nir.read(path, type_check=False)
    except SourceError:
        raise
    except Exception as error:  # h5py and nir raise many kinds; all mean the same to the user
        raise SourceError(
            "bad-nir",
            f"not a readable NIR file: {type(error).__name__}: {error}",
            where=path.name,
            hint="give an HDF5 file written by nir.write",
        ) from error


def _known_types(nodes: h5py.Group, where: str) -> None:
    """Name the node that `nir.read` would only stumble over."""
    known = {kind.__name__ for kind in (*NEURONS, *FILTERS, *LINEAR, nir.Input, nir.Output)}
    for name, node in nodes.items():
        kind = node["type"][()].decode()
        if kind not in known:
            raise unknown_node(f"{where}: {name}", kind)


def _bytes(group: h5py.Group, where: str) -> int:
    """Size of all arrays, none of which is read; refuses what lies outside the file."""
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _elsewhere(where, f"{group.name}/{name}")
        item = group[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise _elsewhere(where, item.name)
        total += (
            _bytes(item, where)
            if isinstance(item, h5py.Group)
            else int(np.prod(item.shape, dtype=object)) * max(item.dtype.itemsize, 1)
        )
    return total


def _elsewhere(where: str, name: str) -> SourceError:
    return SourceError(
        "bad-nir",
        "the file links to data outside it, which are not followed",
        where=f"{where}: {name.replace('//', '/')}",
        hint="give an HDF5 file written by nir.write",
    )
