"""ONNX files as untrusted bytes: measured before they are parsed, checked, weights of other files only from beside it.

Nothing in a file is executed. What is neither a plain graph of standard operators nor small enough is refused by name.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker, numpy_helper

from snnhw.errors import SourceError
from snnhw.limits import fault
from snnhw.network import Array

MOST_BYTES = (1 << 31) - 1
"""What protobuf can hold, of a file and the weights beside it."""

MOST_NODES = 50_000
MOST_FIELDS = 1 << 18
"""Fields of the model, its graph and its tensors: parsed, each takes up to a kilobyte."""

MOST_OTHER = 64 << 20
"""Bytes of all that are not initializers; nested messages can be many times as large once parsed."""

FIRST_OPSET, LAST_OPSET = 7, 25
"""Operator sets whose operators we have read; 7 is the first with today's broadcasting."""

DOMAINS = ("", "ai.onnx")


def read_model(path: str | Path) -> Any:
    """The ModelProto, checked, with all weights inside.

    Raises:
        SourceError: it is missing, damaged, too large, or more than a plain graph.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceError("no-such-file", "there is no such ONNX file", where=str(path))
    _require_size(path.stat().st_size, path.name)
    _measure(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise fault(error, str(path)) or bad_file(path.name, f"{type(error).__name__}: {error}") from None
    _require_plain(model, path.name)
    embed(model, path)
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        raise bad_file(path.name, str(error).strip().split("\n")[0]) from None
    return model


def bad_file(where: str, found: str) -> SourceError:
    """The file is not what it says."""
    return SourceError(
        "bad-onnx",
        "the file is not a valid ONNX model",
        where=where,
        needed=found,
        limit="what onnx.checker accepts",
        hint="export it again",
    )


def text(name: str | bytes) -> str:
    """A name in the file; protobuf gives bytes where it is not UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def node_name(node: Any, index: int) -> str:
    """A node as messages call it."""
    return text(node.name) or f"{text(node.op_type)}_{index}"


def array_of(tensor: Any, file: str) -> Array:
    """A tensor's numbers; raises SourceError where it is damaged or, in floats, not finite."""
    where = f"{file}: {text(tensor.name)}"
    try:
        found = numpy_helper.to_array(tensor)
    except (KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise fault(error, where) or bad_constant(where, error) from None
    require_finite(found, where)
    return found


def require_finite(found: Array, where: str) -> None:
    """Raise SourceError where a constant holds NaN or infinity."""
    bad = int((~np.isfinite(found)).sum()) if found.dtype.kind == "f" else 0
    if bad:
        raise SourceError(
            "not-finite",
            f"{bad} values of the ONNX file are NaN or infinite",
            where=where,
            needed="finite numbers",
            hint="retrain or repair the network",
        )


def bad_constant(where: str, error: Exception) -> SourceError:
    """A tensor that cannot be made an array, or an operation on such."""
    return SourceError(
        "bad-onnx",
        f"a constant of the ONNX file cannot be computed: {error}",
        where=where,
        hint="export it again",
    )


def _require_size(size: int, where: str) -> None:
    if size > MOST_BYTES:
        raise SourceError(
            "too-big",
            "the ONNX file, with the weights beside it, is larger than protobuf can hold",
            where=where,
            needed=f"{size} bytes",
            limit=f"{MOST_BYTES} bytes",
        )


MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
"""Field numbers of onnx.proto."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _measure(path: Path) -> None:
    """Count fields on the wire, before protobuf makes objects of them."""
    if not path.stat().st_size:
        raise bad_file(path.name, "the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        fields = nodes = other = 0
        levels = [_fields(data, 0, len(data))]
        try:
            while levels:
                found = next(levels[-1], None)
                if found is None:
                    levels.pop()
                    continue
                number, first, behind = found
                fields += 1
                if (len(levels) == 1 and number == MODEL_GRAPH) or (len(levels) == 2 and number == GRAPH_INITIALIZER):
                    levels.append(_fields(data, first, behind))
                elif len(levels) < 3:
                    nodes += len(levels) == 2 and number == GRAPH_NODE
                    other += behind - first
                if fields > MOST_FIELDS or nodes > MOST_NODES or other > MOST_OTHER:
                    raise _too_much(path.name, fields, nodes, other)
        except (IndexError, ValueError) as error:
            raise bad_file(path.name, f"truncated or not protobuf: {error}") from None


def _too_much(where: str, fields: int, nodes: int, other: int) -> SourceError:
    return SourceError(
        "too-big",
        "the ONNX graph has more parts than any network that is read here",
        where=where,
        needed=f"at least {nodes} nodes, {fields} fields, {other} bytes beside the initializers",
        limit=f"{MOST_NODES} nodes, {MOST_FIELDS} fields, {MOST_OTHER} bytes",
        hint="export one sample step or one classifier; constants belong into initializers",
    )


def _fields(data: Any, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, byte behind) of the fields of a message."""
    while at < end:
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == _VARINT:
            first, (_, behind) = at, _varint(data, at, end)
        elif kind == _BYTES:
            size, first = _varint(data, at, end)
            behind = first + size
        elif kind in (_FIXED32, _FIXED64):
            first, behind = at, at + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"field of kind {kind} at byte {at}")
        if behind > end:
            raise IndexError(f"a field ends behind byte {end}")
        yield key >> 3, first, behind
        at = behind


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise IndexError(f"a number ends behind byte {end}")
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError(f"a number of more than 10 bytes at byte {at}")


def _require_plain(model: Any, file: str) -> None:
    """One graph of standard operators, in sets we know: no functions, no graphs inside nodes, no sparse tensors."""
    for found, what in ((model.functions, "functions of its own"), (model.graph.sparse_initializer, "sparse tensors")):
        if found:
            raise _not_plain(file, what)
    for index, node in enumerate(model.graph.node):
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise _not_plain(
                    f"{file}: {node_name(node, index)}",
                    f"a graph inside a node ({text(node.op_type)}: a loop or branch)",
                )
    standard = [entry.version for entry in model.opset_import if text(entry.domain) in DOMAINS]
    for version in standard:
        if not FIRST_OPSET <= version <= LAST_OPSET:
            raise SourceError(
                "onnx-opset",
                "the ONNX file is written in an operator set that is not known here",
                where=file,
                needed=f"opset {version}",
                limit=f"opset {FIRST_OPSET} to {LAST_OPSET}",
                hint="export it again with opset_version=17",
            )


def _not_plain(where: str, what: str) -> SourceError:
    return SourceError(
        "not-plain-onnx",
        f"the ONNX file holds {what}, which is not read",
        where=where,
        limit="one graph of standard operators",
        hint="export one sample step, or the network without loops and branches",
    )


def embed(model: Any, path: Path) -> None:
    """Read the initializers that are kept in files beside this one into it; raises SourceError for any other place."""
    held = [(a.t, True) for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    total = path.stat().st_size
    for tensor, in_node in [*((t, False) for t in model.graph.initializer), *held]:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = f"{path.name}: {text(tensor.name)}"
        if in_node:
            raise _external(where, "a node's constant is kept in another file", text(tensor.name))
        file, offset, size = _place(tensor, path, where)
        total += size
        _require_size(total, where)
        with file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(size)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _place(tensor: Any, path: Path, where: str) -> tuple[Path, int, int]:
    """(file, first byte, bytes) of an external tensor, inside the model's folder."""
    said = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    location = said.get("location", "")
    plain = PurePosixPath(location)
    if not location or plain.is_absolute() or ".." in plain.parts or "\\" in location or "\0" in location:
        raise _external(where, "weights are kept at a path outside of the file's folder", location)
    folder, file = path.parent.resolve(), (path.parent / location).resolve()
    if not file.is_relative_to(folder):
        raise _external(where, "weights are kept behind a link that leaves the file's folder", location)
    if not file.is_file():
        raise _external(where, "the file that keeps weights is not there", location)
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        wanted = math.prod(tensor.dims) * np.dtype(kind).itemsize
        offset, size = int(said.get("offset", 0)), int(said.get("length", wanted))
    except (KeyError, ValueError, TypeError) as error:
        raise bad_constant(where, error) from None
    if size != wanted or offset < 0 or min(tensor.dims, default=0) < 0 or offset + size > file.stat().st_size:
        raise _external(where, "the weights beside the ONNX file are of another size than it says", location)
    return file, offset, size


def _external(where: str, what: str, location: str) -> SourceError:
    return SourceError(
        "external-data",
        f"the ONNX file cannot be read: {what}",
        where=where,
        needed=location,
        limit="files inside the folder of the ONNX file, named by relative paths",
        hint="save it in one piece: onnx.save(model, path, save_as_external_data=False)",
    )
