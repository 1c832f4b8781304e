"""Mutants of a file: bytes changed anywhere, and, by format, its parts changed while the rest stays well formed.

Every mutant follows from its seed alone. A mutant is `checked` where the format's own checksum was not made anew:
whoever accepts it must find in it what was there before.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import pickle
import pickletools
import random
import struct
import tomllib
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
import onnx

Random = random.Random
Mutant = tuple[bytes, bool]
"""(bytes, whether a checksum of the format still is the old one)."""

NAMES = ["", "x", "\x1b[31mred\x1b]0;t\x07", "a\nb", "\u202ex", "$\\frac{x$", "[/x]", "=cmd()", "<script>", "a/b", "..",
         "../../x", "\x00", "é" * 300, "n" * 70_000, "\ud800"]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 3, 7, 255, 256, 4096, 65_536, 1 << 24, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32, 1 << 53,
           1 << 62, 1 << 63, (1 << 64) - 1, -(1 << 63), 10**30, 10**400, 0.0, -0.0, 0.5, 1e-3, 1e30, -1e30, 1e308,
           5e-324, 1e-320, math.inf, -math.inf, math.nan]  # fmt: skip
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, {"__class__": "x"}, "off", "1e3", "zero"]


def deep(depth: int = 3000) -> Any:
    """Lists inside of lists."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


# ---- bytes


def raw(rng: Random, blob: bytes, others: list[bytes]) -> bytes:
    """One to four changes at any place."""
    found = bytearray(blob)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not found:
            return bytes(found)
        at, size = rng.randrange(len(found)), rng.choice((1, 1, 2, 4, 8, 30, 300))
        kind = rng.randrange(9)
        if kind < 3:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            found[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 4:
            del found[at : at + size]
        elif kind == 5:
            found[at:at] = rng.randbytes(size)
        elif kind == 6:
            whole, form = rng.choice(NUMBERS[:20]), rng.choice("bhiq")
            width = struct.calcsize(form)
            found[at : at + width] = (int(whole) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif kind == 7:
            other = rng.choice(others)
            first = rng.randrange(max(1, len(other)))
            found[at : at + size] = other[first : first + size]
        elif rng.random() < 0.3:
            del found[at:]
        else:
            first = rng.randrange(len(found))
            found[at : at + size] = found[first : first + size]
    return bytes(found)


# ---- trees: JSON, TOML, manifests


def value(rng: Random, old: Any = None) -> Any:
    """Something that stands where it should not, or a near neighbour of what stood there."""
    kind = rng.randrange(10)
    if isinstance(old, (int, float)) and not isinstance(old, bool) and kind < 4:
        near: list[Any] = [-old, old + 1, old - 1, float(old) if abs(old) < 1e300 else 0.0, str(old)]
        return rng.choice([*near, [old], old * 2])
    if isinstance(old, str) and kind < 3:
        return rng.choice([old + "x", old[:-1], old.upper(), [old], old + "\x1b[0m", old * 2])
    if isinstance(old, list) and old and kind < 4:
        return rng.choice([old[:-1], old + old[-1:], old[::-1], old[0], [old], [*old, None], old * 3])
    if isinstance(old, dict) and old and kind < 4:
        return rng.choice([list(old), list(old.values()), {**old, rng.choice(NAMES): 1}])
    if kind < 7:
        return rng.choice(NUMBERS)
    return rng.choice(NAMES) if kind < 9 else rng.choice([*OTHERS, deep()])


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a tree."""
    found, rest = [], [tree]
    while rest:
        held = rest.pop()
        keys = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else ()
        for key in keys:
            found.append((held, key))
            rest.append(held[key])
    return found


def bend(rng: Random, tree: Any) -> Any:
    """One to three changes of values and keys, in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        all_ = places(tree)
        if not all_ or rng.random() < 0.01:
            return value(rng, tree)
        held, key = rng.choice(all_)
        kind = rng.randrange(10)
        if kind < 6:
            held[key] = value(rng, held[key])
        elif kind == 6:
            del held[key]
        elif kind == 7 and isinstance(held, dict):
            held[rng.choice([*NAMES, f"{key}x", *map(str, held)])] = held.pop(key)
        else:
            other, at = rng.choice(all_)
            with suppress(KeyError, IndexError):  # one was in the other
                held[key], other[at] = json.loads(json.dumps(other[at])), json.loads(json.dumps(held[key]))
    return tree


# ---- zips: checkpoints, artifacts, arrays


def members(blob: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


def zipped(parts: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in parts:
            info = zipfile.ZipInfo(name or "_", (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, content)
    return out.getvalue()


def in_zip(rng: Random, blob: bytes, inner: Callable[[Random, str, bytes], bytes]) -> Mutant:
    """The container's fields changed (checked), or its members with new checksums."""
    kind = rng.randrange(10)
    if kind < 3:
        return _fields_of_zip(rng, blob), True
    parts = members(blob)
    at = rng.randrange(len(parts))
    name, content = parts[at]
    if kind < 8:
        parts[at] = name, inner(rng, name, content)
    elif kind == 8:
        other = rng.choice([*NAMES[1:9], parts[rng.randrange(len(parts))][0], name + "x", name.upper(), "/" + name])
        parts[at] = other, content
    elif rng.random() < 0.5:
        del parts[at]
    else:
        parts.insert(at, (rng.choice([name, "x.npy", "archive/constants.pkl"]), content[: rng.randrange(200)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped(parts, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))), False


def _fields_of_zip(rng: Random, blob: bytes) -> bytes:
    """A field of a local or central header, or a byte of content, everything else as it was."""
    found = bytearray(blob)
    marks = [i for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06") for i in _all(blob, mark)]
    at = rng.choice(marks) + rng.randrange(4, 50)
    if at < len(found):
        width = rng.choice((1, 2, 4))
        number = rng.choice([0, 1, 2, 8, 9, 255, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 32)])
        found[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(found)


def _all(blob: bytes, mark: bytes) -> list[int]:
    found, at = [], blob.find(mark)
    while at >= 0:
        found.append(at)
        at = blob.find(mark, at + 1)
    return found


DTYPES = ["<f4", "<f8", "<f2", "<i8", "<u8", "|u1", "|b1", "<c16", "|S3", "<U2", "|O", "<M8[s]", ">i4", "|V4", "<f16"]


def npy(rng: Random, name: str, blob: bytes) -> bytes:
    """An array's header or values."""
    kind = rng.randrange(6)
    try:
        old = np.load(io.BytesIO(blob))
    except ValueError:
        return raw(rng, blob, [blob])
    if kind == 0:
        return raw(rng, blob, [blob])
    if kind == 1:
        shape = rng.choice(
            ["()", "(0,)", "(-1,)", f"({10**12},)", "(1,)*40", f"({old.size},)", "(2,0,3)", "None", "(1.5,)"]
        )
        return npy_header(rng.choice([str(old.shape), shape]), rng.choice(DTYPES)) + old.tobytes()
    new = old.copy()
    if kind == 2 and new.size and new.dtype.kind in "fiub":
        with np.errstate(all="ignore"):
            new.flat[rng.randrange(new.size)] = np.array(rng.choice(NUMBERS[22:]), np.float64).astype(new.dtype)
    elif kind == 3:
        new = rng.choice([new.reshape(-1), new[..., None], new[None], new[:0], new[:1], new.T, np.zeros((0, 3))])
    elif kind == 4:
        kinds = [np.float16, np.float64, np.int8, np.uint64, np.bool_, np.complex64, "S4", "U3"]
        with np.errstate(all="ignore"):
            new = new.astype(rng.choice(kinds))
    else:
        new = np.array(rng.choice([0, "x", 1e30, [], [[1, 2]], np.nan]))
    out = io.BytesIO()
    np.save(out, new)
    return out.getvalue()


def loaded(blob: bytes) -> np.ndarray[Any, Any]:
    """The array of an .npy."""
    return np.load(io.BytesIO(blob), allow_pickle=False)  # type: ignore[no-any-return]


def npy_header(shape: str, dtype: str) -> bytes:
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def of_npz(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if rng.random() < 0.4:
        return raw(rng, blob, others), True
    return in_zip(rng, blob, npy)


# ---- artifacts: with a right hash


def of_artifact(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if rng.random() < 0.3:
        return raw(rng, blob, others), True
    if rng.random() < 0.2:
        return in_zip(rng, blob, lambda r, name, content: raw(r, content, [content]))[0], True  # the hash says no
    parts = dict(members(blob))
    manifest = json.loads(parts.pop("manifest.json"))
    head = {key: manifest.pop(key) for key in ("schema", "hash")}
    if rng.random() < 0.75:
        if rng.random() < 0.8:
            key = rng.choice(list(manifest))
            manifest[key] = bend(rng, manifest[key])
        else:
            manifest = bend(rng, manifest)
    if rng.random() < 0.35:
        name = rng.choice(list(parts))
        parts[name] = npy(rng, name, parts[name])
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode("utf-8", "surrogatepass"))
    for name in sorted(parts):
        digest.update(name.encode() + hashlib.sha256(parts[name]).digest())
    held = manifest if isinstance(manifest, dict) else {"arrays": manifest}
    if rng.random() < 0.03:
        head["schema"] = value(rng, head["schema"])
    whole = {"schema": head["schema"], "hash": digest.hexdigest(), **held}
    return zipped([("manifest.json", json.dumps(whole).encode()), *parts.items()], zipfile.ZIP_DEFLATED), False


# ---- torch files


GLOBALS = ["os system", "builtins eval", "torch.storage _load_from_bytes", "torch load", "numpy ndarray",
           "collections OrderedDict", "torch FloatStorage", "torch._utils _rebuild_tensor_v2", "builtins bytearray",
           "torch._utils _rebuild_parameter", "argparse Namespace", "torch.nn.modules.linear Linear", "torch Size",
           "torch._utils _rebuild_sparse_tensor", "torch.serialization _get_layout", "_codecs encode"]  # fmt: skip


def bent_pickle(rng: Random, name: str, blob: bytes) -> bytes:
    """Opcodes dropped, doubled, or with other arguments."""
    if not name.endswith("data.pkl"):
        return raw(rng, blob or b"\0", [blob or b"\0"])
    try:
        ops = list(pickletools.genops(blob))
    except ValueError:
        return raw(rng, blob, [blob])
    ends = [at for _, _, at in ops[1:]] + [len(blob)]
    pieces = [blob[at:end] for (_, _, at), end in zip(ops, ends, strict=True)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        i = rng.randrange(len(pieces))
        op, arg, _ = ops[i] if i < len(ops) else ops[0]
        kind = rng.randrange(10)
        if kind < 5 and isinstance(arg, (int, float)) and not isinstance(arg, bool):
            pieces[i] = _scalar(rng.choice([*NUMBERS, arg + 1, -arg]))
        elif kind < 5 and op.name == "GLOBAL":
            pieces[i] = b"c" + rng.choice(GLOBALS).replace(" ", "\n").encode() + b"\n"
        elif kind < 5 and isinstance(arg, str):
            text = rng.choice([*NAMES[:14], arg + "x", arg.upper(), "0", "cuda:0", "meta"]).encode("utf-8", "replace")
            pieces[i] = b"X" + struct.pack("<I", len(text)) + text
        elif kind < 5 and op.name in ("EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_LIST", "NEWTRUE", "NEWFALSE", "NONE"):
            pieces[i] = rng.choice([b")", b"}", b"]", b"\x88", b"\x89", b"N", b"(l", b"\x8f"])
        elif kind == 5:
            pieces[i] = b""
        elif kind == 6:
            pieces[i] = pieces[i] * 2
        elif kind == 7:
            pieces[i] = pieces[rng.randrange(len(pieces))]
        elif kind == 8:
            pieces[i] = _scalar(rng.choice(NUMBERS)) if rng.random() < 0.5 else rng.choice(BOMBS)
        else:
            j = rng.randrange(len(pieces))
            pieces[i], pieces[j] = pieces[j], pieces[i]
    return b"".join(pieces)


def _scalar(number: Any) -> bytes:
    if isinstance(number, float) or abs(number) >= 1 << 900:
        return b"G" + struct.pack(">d", float(number) if abs(number) < 1e308 else math.inf)
    return pickle.dumps(int(number), 2)[2:-1]


BOMBS = [
    b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R",
    b"cos\nsystem\nX\x0f\x00\x00\x00touch /tmp/pwn!\x85R",
    b"ccollections\nOrderedDict\n)R",
    b"(l" * 3000,
    b"]q\xffh\xffa",
    b"ctorch\nSize\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftR",
]


def of_torch(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if not zipfile.is_zipfile(io.BytesIO(blob)):
        return (raw if rng.random() < 0.5 else _older)(rng, blob, others), False
    if rng.random() < 0.25:
        return raw(rng, blob, others), True
    return in_zip(rng, blob, bent_pickle)


def _older(rng: Random, blob: bytes, others: list[bytes]) -> bytes:
    """The pickles one after another of the format before the zip; the last but one holds the dictionary."""
    at, cuts = 0, [0]
    while at < len(blob):
        try:
            file = io.BytesIO(blob[at:])
            *_, (_, _, _) = pickletools.genops(file)
        except ValueError:
            break
        at += file.tell()
        cuts.append(at)
    i = rng.randrange(max(1, len(cuts) - 1))
    part = bent_pickle(rng, "data.pkl", blob[cuts[i] : cuts[min(i + 1, len(cuts) - 1)]])
    return blob[: cuts[i]] + part + blob[cuts[min(i + 1, len(cuts) - 1)] :]


def of_safetensors(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """The head's JSON, or what a checkpoint of ours says in its metadata."""
    if rng.random() < 0.3:
        return raw(rng, blob, others), False
    size = int.from_bytes(blob[:8], "little")
    head = json.loads(blob[8 : 8 + size])
    if rng.random() < 0.5:
        said = head["__metadata__"]
        said["snnhw"] = json.dumps(bend(rng, json.loads(said["snnhw"])))
    else:
        head = bend(rng, head)
    text = json.dumps(head).encode("utf-8", "replace")
    return len(text).to_bytes(8, "little") + text + blob[8 + size :], False


# ---- HDF5: NIR and lava-dl


def of_hdf5(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if rng.random() < 0.25:
        return raw(rng, blob, others), False
    with h5py.File(io.BytesIO(blob), "r") as file:
        held: dict[str, Any] = {}
        file.visititems(lambda name, item: held.update({name: item[()] if isinstance(item, h5py.Dataset) else None}))
    names = list(held)
    extra: list[Callable[[h5py.File], object]] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice(names)
        kind = rng.randrange(12)
        if kind < 7:
            values = [n for n in names if held.get(n) is not None]
            name = rng.choice(values)
            held[name] = dataset(rng, held[name])
        elif kind == 7:
            held.pop(name, None)
        elif kind == 8:
            other = name.rsplit("/", 1)[0] + "/" + rng.choice(["x", "é", "\x1b[31m", "$x$", "<b>", "0", "=1", "type"])
            held = {
                (other + n[len(name) :] if n == name or n.startswith(name + "/") else n): v for n, v in held.items()
            }
        elif kind == 9:
            held[name + rng.choice(["x", "/x", "/type", "/metadata/snnhw"])] = dataset(rng, np.float64(1))
        elif kind == 10:
            values = [n for n in names if held.get(n) is not None]
            one, two = rng.choice(values), rng.choice(values)
            held[one], held[two] = held.get(two), held.get(one)
        else:
            extra.append(rng.choice(_ODD_ITEMS)(rng, name))
        names = list(held) or ["x"]
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, content in held.items():
            _put(file, name, content)
        for add in extra:
            with suppress(*NOT_WRITTEN):
                add(file)
    return out.getvalue(), False


NOT_WRITTEN = (ValueError, OSError, TypeError, KeyError, RuntimeError)
"""Raised for what HDF5 itself does not write."""


def _put(file: h5py.File, name: str, content: Any) -> None:
    with suppress(*NOT_WRITTEN):
        if content is None:
            file.require_group(name)
        elif name not in file:
            file.create_dataset(name, data=content)


def dataset(rng: Random, old: Any) -> Any:
    """Another value of a dataset."""
    held, kind = np.asarray(old), rng.randrange(10)
    if held.dtype.kind in "OSU" or kind == 0:
        text = [*NAMES, "CubaLIF", "NIRGraph", "Conv2d", "dense", "conv", "Output", "euler"]
        if isinstance(old, bytes) and old[:1] == b"{" and rng.random() < 0.9:
            try:
                return json.dumps(bend(rng, json.loads(old))).encode("utf-8", "replace")
            except ValueError:
                return b"{"
        if held.ndim and held.size and rng.random() < 0.7:
            new = held.copy()
            new.flat[rng.randrange(new.size)] = rng.choice([*new.ravel().tolist(), b"x", b"\xff"])
            return rng.choice(
                [new, new[:-1], new.ravel(), new[:, :1] if new.ndim > 1 else new[:1], np.repeat(new, 2, 0)]
            )
        return rng.choice(text).encode("utf-8", "replace").replace(b"\0", b"0")
    with np.errstate(all="ignore"):
        number = np.array(float(rng.choice(NUMBERS[:21] + NUMBERS[22:])))
        if kind < 4:
            new = held.astype(np.float64)
            if new.size:
                new.flat[rng.randrange(new.size)] = number
            return new if rng.random() < 0.3 or held.dtype.kind == "f" else new.astype(held.dtype)
        if kind == 4:
            return rng.choice([number, number.astype(np.int64), np.full(held.shape, number), np.full((2, 2), number)])
        if kind == 5:
            return rng.choice(
                [held.reshape(-1), held[..., None], held[None], held[..., :0], np.zeros((0, 4)), np.zeros(())]
            )
        if kind == 6 and held.ndim:
            axis = rng.randrange(held.ndim)
            return rng.choice(
                [np.repeat(held, 2, axis), np.delete(held, 0, axis) if held.shape[axis] else held, held.T]
            )
        if kind == 7:
            kinds = [np.float16, np.float32, np.int8, np.uint64, np.bool_, np.complex128, "S5"]
            return held.astype(rng.choice(kinds))
        if kind == 8:
            return held * rng.choice([0, -1, 1e30, 1e-30, 2, 0.5])
        return rng.choice(
            [b"", b"text", np.array([b"a", b"b"]), np.zeros(3, [("a", "i4"), ("b", "f8")]), h5py.Empty("f8")]
        )


def _replaced(file: h5py.File, name: str, **content: Any) -> None:
    file.pop(name, None)
    file.create_dataset(name, **content)


HUGE = [(1 << 40,), (1 << 20, 1 << 20), (1 << 28,)]
_ODD_ITEMS: list[Callable[[Random, str], Callable[[h5py.File], object]]] = [
    lambda rng, name: lambda file: file.__setitem__(name + "_link", h5py.SoftLink("/" + name)),
    lambda rng, name: lambda file: file.__setitem__(name + "_out", h5py.ExternalLink("/etc/passwd", "/")),
    lambda rng, name: lambda file: file.__setitem__(name + "_same", file["/"]),
    lambda rng, name: (
        lambda file: (
            file.pop(name, None),
            file.create_dataset(
                name, shape=rng.choice([(1 << 40,), (1 << 20, 1 << 20), (1 << 28,)]), dtype="f4", chunks=True
            ),
        )
    ),
    lambda rng, name: lambda file: file.create_dataset(name + "_none", dtype="f8", shape=None),
    lambda rng, name: (
        lambda file: (file.pop(name, None), file.create_dataset(name, data=file["/"].ref, dtype=h5py.ref_dtype))
    ),
]


# ---- ONNX


def of_onnx(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    from tests.unit.frontends.onnx.mutants import mutant

    kind = rng.random()
    if kind < 0.3:
        return raw(rng, blob, others), False
    model = onnx.ModelProto.FromString(blob)
    if kind < 0.6:
        try:
            return mutant(model, rng.randrange(1 << 31)).SerializeToString(), False
        except (ValueError, TypeError, OverflowError):
            return raw(rng, blob, others), False
    for _ in range(rng.choice((1, 1, 2, 3))):
        _bend_message(rng, model)
    return model.SerializeToString(), False


def _bend_message(rng: Random, model: Any) -> None:
    """Any field of any message of the model."""
    messages, rest = [], [model]
    while rest:
        message = rest.pop()
        messages.append(message)
        for field, content in message.ListFields():
            if field.message_type is not None:
                rest += list(content) if field.is_repeated else [content]
    message = rng.choice(messages)
    field = rng.choice(message.DESCRIPTOR.fields)
    name, kind = field.name, rng.randrange(6)
    try:
        if kind == 0:
            message.ClearField(name)
        elif field.is_repeated:
            held = getattr(message, name)
            if kind < 3 and len(held):
                del held[rng.randrange(len(held))]
            elif field.message_type is not None:
                added = held.add()
                if len(held) > 1:
                    added.CopyFrom(held[rng.randrange(len(held) - 1)])
            elif len(held) and kind == 3:
                held[rng.randrange(len(held))] = _proto_scalar(rng, field)
            else:
                held.append(_proto_scalar(rng, field))
        elif field.message_type is not None:
            getattr(message, name).SetInParent()
        else:
            setattr(message, name, _proto_scalar(rng, field))
    except (ValueError, TypeError, OverflowError, UnicodeEncodeError):
        pass  # protobuf itself does not hold it


def _proto_scalar(rng: Random, field: Any) -> Any:
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return float(rng.choice(NUMBERS[:21] + NUMBERS[22:]))
    if field.cpp_type == field.CPPTYPE_STRING:
        text = rng.choice([*NAMES[:14], "x", "w", "Relu", "Conv", "/etc/passwd", "../x"])
        return rng.randbytes(20) if field.type == field.TYPE_BYTES else text
    return int(rng.choice(NUMBERS[:20]))


def of_weights(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """State dicts, as zips and as .safetensors."""
    if zipfile.is_zipfile(io.BytesIO(blob)):
        return of_torch(rng, blob, others)
    return of_safetensors(rng, blob, others)


def of_any(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """What has no structure that is known here, packed or not; or is a zip of arrays, or text."""
    if zipfile.is_zipfile(io.BytesIO(blob)):
        return of_npz(rng, blob, others)
    if blob[:2] == b"\x1f\x8b" and rng.random() < 0.5:
        return gzip.compress(raw(rng, gzip.decompress(blob), others), mtime=0), False
    if blob.isascii() and rng.random() < 0.7:
        return of_csv(rng, blob, others)
    return raw(rng, blob, others), False


# ---- text


def of_csv(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """Cells, rows and columns of a table."""
    if rng.random() < 0.3:
        return raw(rng, blob, others), False
    rows = [line.split(",") for line in blob.decode().split("\r\n" if b"\r\n" in blob else "\n")]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        row = rng.choice(rows)
        i = rng.randrange(len(row))
        kind = rng.randrange(10)
        if kind < 6:
            row[i] = rng.choice(
                ["", str(rng.choice(NUMBERS)), rng.choice(NAMES), row[i] + "0", f'"{row[i]}', "-" + row[i]]
            )
        elif kind == 6:
            row.append(rng.choice([row[i], "", "1"]))
        elif kind == 7 and len(row) > 1:
            del row[i]
        elif kind == 8:
            rows.insert(rng.randrange(len(rows)), list(row) * rng.choice((1, 1, 2, 300)))
        else:
            for other in rows:
                if i < len(other) and rng.random() < 0.9:
                    other[i] = rng.choice([other[0], other[-1], "1e-320", "1e300", "9" * 30])
    return rng.choice(["\n", "\r\n", "\r"]).join(map(",".join, rows)).encode("utf-8", "surrogatepass"), False


def of_json(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if rng.random() < 0.3:
        return raw(rng, blob, others), False
    return json.dumps(bend(rng, json.loads(blob)), ensure_ascii=rng.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    ), False


def of_toml(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    if rng.random() < 0.4:
        return raw(rng, blob, others), False
    try:
        return toml(bend(rng, tomllib.loads(blob.decode()))).encode("utf-8", "surrogatepass"), False
    except RecursionError:
        return b"a = " + b"[" * 3000 + b"]" * 3000, False


def toml(tree: Any) -> str:
    """A tree as TOML, one inline value a key."""
    if not isinstance(tree, dict):
        return f"value = {_inline(tree)}\n"
    return "".join(f"{_text(key)} = {_inline(held)}\n" for key, held in tree.items())


def _inline(held: Any) -> str:
    if isinstance(held, dict):
        return "{" + ", ".join(f"{_text(key)} = {_inline(v)}" for key, v in held.items()) + "}"
    if isinstance(held, list):
        return "[" + ", ".join(map(_inline, held)) + "]"
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, (int, float)):
        return repr(held)
    return _text(str(held))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
