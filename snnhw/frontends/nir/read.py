"""NIR files (HDF5) as `nir` nodes: read by us, since `nir.read` refuses good files and takes bad ones.

What real exporters write is taken: scalars where arrays are expected, parameters left out that have a default, edges in
any order, nested graphs, any version. What cannot be understood is refused by the path of the node and field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends import own
from snnhw.frontends.graph import unknown_node
from snnhw.hdf5 import require_plain
from snnhw.limits import MAX_BYTES, fault
from snnhw.network import Array, FloatNeuron

HINT = "give an HDF5 file written by nir.write"
MAX_DEPTH = 32
"""Graphs inside of graphs."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class _Kind:
    """How one type of node is read.

    Args:
        make: fields -> node.
        required: fields that must be there.
        optional: fields with the value they have when they are left out; None: any, which `make` looks at.
    """

    make: Callable[[Fields], nir.NIRNode]
    required: tuple[str, ...]
    optional: Mapping[str, Any] | None


def read_graph(path: str | Path, most: int = MAX_BYTES) -> nir.NIRGraph:
    """The graph in a file, its nested graphs kept; nothing is checked yet but that it can be understood.

    Raises:
        SourceError: 'bad-nir', 'too-big', 'bad-name' or 'unknown-node', with the path of the node.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            require_plain(file, path.name, HINT, most)
            node = file["node"]
            kind = _text(node["type"][()])
            if kind != "NIRGraph":
                raise SourceError(
                    "bad-nir", f"the file holds a single {kind} node, not a graph", where=path.name, hint=HINT
                )
            return _graph(node, path.name, 0)
    except SnnhwError:
        raise
    except Exception as error:  # h5py raises many kinds; all mean the same to the user
        raise fault(error, str(path)) or SourceError(
            "bad-nir", f"not a readable NIR file: {type(error).__name__}: {error}", where=path.name, hint=HINT
        ) from error


def _graph(group: h5py.Group, where: str, depth: int) -> nir.NIRGraph:
    if depth > MAX_DEPTH:
        raise SourceError("bad-nir", "graphs are nested too deep", where=where, limit=MAX_DEPTH, hint=HINT)
    nodes = {name: _node(item, f"{where}: {name}", depth) for name, item in group["nodes"].items()}
    rows = np.asarray(group["edges"][()]) if "edges" in group else np.zeros((0, 2))
    if rows.size and (rows.ndim != 2 or rows.shape[1] != 2):
        raise SourceError("bad-nir", "the edges are not pairs of names", where=where, needed=rows.shape, hint=HINT)
    edges = [(_text(pre), _text(post)) for pre, post in rows.tolist()] if rows.size else []
    return nir.NIRGraph(nodes, edges, metadata=_metadata(group), type_check=False)


def _node(group: Any, where: str, depth: int) -> nir.NIRNode:
    if not isinstance(group, h5py.Group) or "type" not in group:
        if isinstance(group, h5py.Group) and any("type" in g for g in group.values() if isinstance(g, h5py.Group)):
            raise SourceError(
                "bad-name", "NIR node names cannot hold '/'", where=where, hint="name it without '/'"
            )  # HDF5 made a group of it
        raise SourceError("bad-nir", "the node has no type", where=where, hint=HINT)
    name = _text(group["type"][()])
    if name == "NIRGraph":
        return _graph(group, where, depth + 1)
    kind = KINDS.get(name)
    if kind is None:
        raise unknown_node(where, name)
    fields = {key: _value(item, f"{where}.{key}") for key, item in group.items() if key not in ("type", "metadata")}
    missing = [key for key in kind.required if key not in fields]
    unknown = [] if kind.optional is None else sorted(set(fields) - set(kind.required) - set(kind.optional))
    if missing or unknown:
        what = "lacks a parameter" if missing else f"has a parameter that {name} does not have"
        raise SourceError("bad-nir", f"the node {what}", where=f"{where}.{(missing or unknown)[0]}", hint=HINT)
    try:
        node = kind.make({**(kind.optional or {}), **fields})
    except (ValueError, TypeError, AssertionError, IndexError) as error:
        raise SourceError(
            "bad-shape", f"the parameters of a {name} node do not fit together: {error}", where=where
        ) from None
    node.metadata = _metadata(group)
    return node


def _value(item: Any, where: str) -> Any:
    """An array of numbers, or a string."""
    if not isinstance(item, h5py.Dataset):
        raise SourceError("bad-nir", "a parameter is not an array", where=where, hint=HINT)
    value = item[()]
    if isinstance(value, (bytes, str)):
        return _text(value)
    array = np.asarray(value)
    if array.dtype.kind == "O" and array.ndim == 0:
        return _text(array.item())
    if array.dtype.kind not in "fiub":
        raise SourceError(
            "bad-nir", "a parameter does not hold numbers", where=where, needed=array.dtype, limit="real numbers"
        )
    return array


def _text(value: Any) -> str:
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def _metadata(group: h5py.Group) -> dict[str, Any]:
    held = group.get("metadata")
    if not isinstance(held, h5py.Group):
        return {}
    items = ((key, item[()]) for key, item in held.items() if isinstance(item, h5py.Dataset))
    return {key: _text(value) if isinstance(value, bytes) else value for key, value in items}


def _broadcast(fields: Fields, names: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """Parameters of one neuron node in one shape: a number stands for all neurons."""
    arrays = [np.asarray(fields[name], np.float64) for name in names]
    full = max((array.shape for array in arrays), key=lambda shape: (int(np.prod(shape)), len(shape)))
    for name, array in zip(names, arrays, strict=True):
        yield name, np.array(np.broadcast_to(array.reshape(()) if array.size == 1 else array, full))


def _neuron(make: Callable[..., nir.NIRNode], names: tuple[str, ...]) -> _Kind:
    """Neurons, by the names of their parameters; some exporters leave out w_in and v_reset."""
    left_out = {name: value for name, value in (("w_in", 1.0), ("v_reset", 0.0)) if name in names}
    required = tuple(name for name in names if name not in left_out)
    return _Kind(lambda fields: make(**dict(_broadcast(fields, names))), required, left_out)


def _matrix(fields: Fields) -> Array:
    weight = np.asarray(fields["weight"])
    if weight.ndim != 2:
        raise ValueError(f"the weight has {weight.ndim} axes, not (outputs, inputs)")
    return weight


def _bias(fields: Fields, weight: Array) -> Array:
    """One number stands for all outputs."""
    bias = np.asarray(fields["bias"])
    return np.full(len(weight), bias.item(), weight.dtype) if bias.ndim == 0 else bias


def _affine(fields: Fields) -> nir.NIRNode:
    weight = _matrix(fields)
    return nir.Affine(weight=weight, bias=_bias(fields, weight))


def _whole(value: Any) -> int:
    (number,) = np.asarray(value).ravel().tolist()
    if number != int(number):
        raise ValueError(f"{number} is not a whole number")
    return int(number)


def _pair(value: Any) -> tuple[int, int]:
    """One number stands for both axes."""
    flat = np.asarray(value).ravel()
    first, second = flat if flat.size == 2 else (*flat, *flat)
    return _whole(first), _whole(second)


def _conv(axes: int) -> Callable[[Fields], nir.NIRNode]:
    per_axis: Callable[[Any], Any] = _whole if axes == 1 else _pair

    def make(fields: Fields) -> nir.NIRNode:
        weight = np.asarray(fields["weight"])
        if weight.ndim != axes + 2:
            raise ValueError(f"the weight has {weight.ndim} axes, a Conv{axes}d has {axes + 2}")
        if fields["input_shape"] is not None and np.size(fields["input_shape"]) > axes:
            raise ValueError(f"input_shape has {np.size(fields['input_shape'])} numbers, a Conv{axes}d has {axes}")
        padding = fields["padding"]
        kind: Any = nir.Conv1d if axes == 1 else nir.Conv2d
        node: nir.NIRNode = kind(
            input_shape=None,  # of the exporter's input: shapes are told from the graph's
            weight=weight,
            stride=per_axis(fields["stride"]),
            padding=padding if isinstance(padding, str) else per_axis(padding),
            dilation=per_axis(fields["dilation"]),
            groups=_whole(fields["groups"]),
            bias=_bias(fields, weight),
        )
        vars(node)["declared"] = fields["input_shape"]
        return node

    return make


def _pool(make: Callable[..., nir.NIRNode]) -> Callable[[Fields], nir.NIRNode]:
    def made(fields: Fields) -> nir.NIRNode:
        stride = fields["kernel_size"] if fields["stride"] is None else fields["stride"]
        parts = {"kernel_size": fields["kernel_size"], "stride": stride, "padding": fields["padding"]}
        return make(**{name: np.array(_pair(value)) for name, value in parts.items()})

    return made


def _flatten(fields: Fields) -> nir.NIRNode:
    return nir.Flatten(input_type=None, start_dim=_whole(fields["start_dim"]), end_dim=_whole(fields["end_dim"]))


def _end(make: Callable[..., nir.NIRNode], port: str) -> Callable[[Fields], nir.NIRNode]:
    def made(fields: Fields) -> nir.NIRNode:
        shape = fields["shape"]
        return make({port: None if shape is None else np.asarray(shape, np.int64).ravel()})

    return made


def _array(make: Callable[..., nir.NIRNode], name: str) -> Callable[[Fields], nir.NIRNode]:
    return lambda fields: make(np.asarray(fields[name], np.float64))


_CONV = ("weight", "stride", "padding", "dilation", "groups", "bias")
_POOL = {"stride": None, "padding": 0}

KINDS: dict[str, _Kind] = {
    "Affine": _Kind(_affine, ("weight", "bias"), {}),
    "Linear": _Kind(lambda fields: nir.Linear(weight=_matrix(fields)), ("weight",), {}),
    "Scale": _Kind(_array(nir.Scale, "scale"), ("scale",), {}),
    "Conv1d": _Kind(_conv(1), _CONV, {"input_shape": None}),
    "Conv2d": _Kind(_conv(2), _CONV, {"input_shape": None}),
    "AvgPool2d": _Kind(_pool(nir.AvgPool2d), ("kernel_size",), _POOL),
    "SumPool2d": _Kind(_pool(nir.SumPool2d), ("kernel_size",), _POOL),
    "Flatten": _Kind(_flatten, (), {"start_dim": 1, "end_dim": -1, "input_type": None}),
    "Delay": _Kind(_array(nir.Delay, "delay"), ("delay",), {}),
    **{kind: _neuron(getattr(nir, kind), names) for kind, names in FloatNeuron.NIR.items()},
    own.TYPE: _Kind(own.from_fields, own.REQUIRED, {"indices": None, "indptr": None}),
    own.NEURON_TYPE: _Kind(own.neuron_from_fields, ("model",), None),
    own.MAX_TYPE: _Kind(own.max_from_fields, ("pool",), {}),
    "Input": _Kind(_end(nir.Input, "input"), (), {"shape": None}),
    "Output": _Kind(_end(nir.Output, "output"), (), {"shape": None}),
    "Identity": _Kind(_end(nir.ir.graph.Identity, "input"), (), {"shape": None, "input_type": None}),
}
"""Type -> how it is read."""
