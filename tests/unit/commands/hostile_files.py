"""Files that are not what they claim: damaged, foreign, or made to take all memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from snnhw.artifact import _hash
from tests.unit.frontends.checkpoints import content
from tests.unit.frontends.official.files import imagenet_file, resnet

Maker = Callable[[Path, bytes], None]
"""(path to make, bytes of a valid file of that kind)."""


def link(to: str) -> Maker:
    return lambda path, whole: path.symlink_to(path.parent / to)


def kept(share: float) -> Maker:
    return lambda path, whole: path.write_bytes(whole[: int(len(whole) * share)]) and None


def written(blob: bytes) -> Maker:
    return lambda path, whole: path.write_bytes(blob) and None


def flipped(path: Path, whole: bytes) -> None:
    """The same length, every 97th byte another."""
    path.write_bytes(bytes(b ^ 0xFF if i % 97 == 50 else b for i, b in enumerate(whole)))


def unreadable(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    path.chmod(0)


def locked(path: Path, whole: bytes) -> None:
    """In a folder that cannot be entered."""
    path.write_bytes(whole)
    path.parent.chmod(0o700)


ANY: dict[str, Maker] = {
    "missing": lambda path, whole: None,
    "empty": written(b""),
    "folder": lambda path, whole: path.mkdir(),
    "text": written(b"hello\nworld\n"),
    "zeros": written(bytes(5000)),
    "noise": written(np.random.default_rng(0).bytes(5000)),
    "an empty zip": written(b"PK\x05\x06" + bytes(18)),
    "HDF5 signature only": written(b"\x89HDF\r\n\x1a\n"),
    "link to nowhere": link("nowhere"),
    "link to itself": lambda path, whole: path.symlink_to(path),
    "link to a folder": link("."),
    "link to a device": lambda path, whole: path.symlink_to("/dev/zero"),
    "pipe": lambda path, whole: os.mkfifo(path),
    "unreadable": unreadable,
    "in a locked folder": locked,
    "a tenth": kept(0.1),
    "half": kept(0.5),
    "nine tenths": kept(0.9),
    "all but the last bytes": kept(0.9999),
    "flipped bytes": flipped,
}
"""For every kind of file."""


def npy(shape: str, dtype: str = "<f8", data: bytes = b"") -> bytes:
    """An array's header as it stands in a file, with whatever follows it."""
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def zipped(path: Path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blob in entries.items():
            archive.writestr(name, blob)


def npz(x: bytes) -> Maker:
    return lambda path, whole: zipped(path, {"x.npy": x})


def saved(**arrays: Any) -> Maker:
    def make(path: Path, whole: bytes) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    return make


def lying(path: Path, claimed: int, real: int) -> None:
    """An entry that unpacks to `real` bytes of zeros and claims `claimed`."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    blob = squeeze.compress(npy(f"({real // 8},)")) + b"".join(
        squeeze.compress(bytes(1 << 20)) for _ in range(real >> 20)
    )
    blob += squeeze.flush()
    fields = (20, 0, 8, 0, 0, 0, len(blob), claimed, 5, 0)
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *fields) + b"x.npy"
    central = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, *fields, 0, 0, 0, 0, 0) + b"x.npy"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(blob), 0)
    path.write_bytes(local + blob + central + end)


def laughs(depth: int = 60) -> Any:
    """Two references to two references to ...: small in a pickle, 2**depth when written out."""
    found: Any = ("ha",)
    for _ in range(depth):
        found = (found, found)
    return found


def torch_file(change: Callable[[dict[str, Any]], Any], kind: str = "stbp_scnn", **options: Any) -> Maker:
    """Our checkpoint with something changed."""

    def make(path: Path, whole: bytes) -> None:
        parts = content(kind)
        torch.save(change(parts) or parts, path, **options)

    return make


def claimed_numel(path: Path, whole: bytes) -> None:
    """A checkpoint whose pickle claims a storage of 10**12 numbers where there are nine."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    [where] = [i for i in range(len(entries[name])) if entries[name][i : i + 5] == b"cpuq"[:3] + b"q"][:1] or [0]
    blob = entries[name]
    at = blob.index(b"X\x03\x00\x00\x00cpu", where)
    at = blob.index(b"K", at)  # the one-byte integer behind the place: how many numbers there are
    entries[name] = blob[:at] + b"\x8a\x06" + (10**12).to_bytes(6, "little") + blob[at + 2 :]
    zipped(path, entries)


def deep_pickle(path: Path, whole: bytes) -> None:
    path.write_bytes(b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".")


def huge_string(path: Path, whole: bytes) -> None:
    """A pickle that claims a string of 2 GiB."""
    path.write_bytes(b"\x80\x02X" + struct.pack("<I", 2**31 - 1) + b"abc")


def of(part: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts[part].update({key: value})


def config(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["network"].update(config={**parts["network"]["config"], **changes})


def hdf5(fill: Callable[[h5py.File], Any]) -> Maker:
    def make(path: Path, whole: bytes) -> None:
        with h5py.File(path, "w") as file:
            fill(file)

    return make


def outside(file: h5py.File) -> None:
    file["node"] = h5py.ExternalLink("/etc/passwd", "/")
    file["layer"] = h5py.ExternalLink("/etc/passwd", "/")


def circle(file: h5py.File) -> None:
    for name in ("node", "layer"):
        file.create_group(name)
        file[f"{name}/again"] = file[name]


def absurd(file: h5py.File) -> None:
    """A dataset of 10**14 numbers of which none is stored."""
    for name in ("node/nodes/a", "layer/0"):
        file.create_dataset(f"{name}/weight", shape=(10**7, 10**7), dtype="f8", chunks=(100, 100))


def manifest(change: Callable[[dict[str, Any]], Any], hashed: bool = False) -> Maker:
    """An artifact whose manifest was changed, by someone who knows how its hash is made or not."""

    def make(path: Path, whole: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            entries = {info.filename: archive.read(info) for info in archive.infolist()}
        found = json.loads(entries.pop("manifest.json"))
        found = change(found) or found
        if hashed:
            content = {key: value for key, value in found.items() if key not in ("schema", "hash")}
            found["hash"] = _hash(content, entries)
        zipped(path, {**entries, "manifest.json": json.dumps(found).encode()})

    return make


def network(**changes: Any) -> Maker:
    return manifest(lambda m: m["network"].update(changes), hashed=True)


def population(number: int, **changes: Any) -> Maker:
    return manifest(lambda m: m["network"]["populations"][number].update(changes), hashed=True)


def neuron(number: int, **changes: Any) -> Maker:
    return manifest(lambda m: m["network"]["populations"][number]["neuron"].update(changes), hashed=True)


def projection(number: int, **changes: Any) -> Maker:
    return manifest(lambda m: m["network"]["projections"][number].update(changes), hashed=True)


def swapped_arrays(found: dict[str, Any]) -> None:
    """Every array under the name of the next."""
    names = list(found["arrays"])
    found["arrays"] = dict(zip(names, [*list(found["arrays"].values())[1:], found["arrays"][names[0]]], strict=True))


def nested_json(path: Path, whole: bytes) -> None:
    zipped(path, {"manifest.json": b'{"schema": 1, "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"})


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


SPECIAL: dict[str, dict[str, Maker]] = {
    "samples.npz": {
        "a pickle": written(pickle.dumps({"x": np.zeros((2, 3))})),
        "a pickle with code": written(pickle.dumps(Code())),
        "a bare array": written(npy("(2, 3)", data=bytes(48))),
        "objects": saved(x=np.array([[{}], [[]]], dtype=object)),
        "text": saved(x=np.array([["a"], ["b"]])),
        "complex": saved(x=np.zeros((2, 3), complex)),
        "records": saved(x=np.zeros((2, 3), [("a", "f4")])),
        "no axis": saved(x=np.float64(3)),
        "not finite": saved(x=np.full((2, 1, 8, 8), np.inf)),
        "absurd shape": npz(npy("(1000000000000, 1000)")),
        "overflowing shape": npz(npy("(4294967296, 4294967296, 4294967296)")),
        "negative shape": npz(npy("(-1, 3)")),
        "shape of a thousand axes": npz(npy("(" + "1, " * 1000 + ")")),
        "wide text": npz(npy("(2, 2)", dtype="<U1000000000")),
        "code for a type": npz(npy("(2, 2)", dtype="__import__('os').system('exit 1')")),
        "a gigantic header": npz(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{"),
        "a bomb": lambda path, whole: lying(path, 1 << 30, 1 << 30),
        "a bomb that lies": lambda path, whole: lying(path, 1000, 1 << 28),
        "a claim of 8 GiB": lambda path, whole: lying(path, (1 << 32) - 1, 1 << 20),
    },
    "net.pt": {
        "a pickle with code": written(pickle.dumps(Code())),
        "code inside": torch_file(of("deploy", "more", Code())),
        "a list": torch_file(lambda parts: [parts]),
        "nothing": torch_file(lambda parts: {"epoch": 1}),
        "another version": torch_file(lambda parts: parts.update(version=99)),
        "absurd steps": torch_file(of("deploy", "steps", 10**12)),
        "absurd image": torch_file(of("deploy", "input_shape", [1, 10**6, 10**6])),
        "negative image": torch_file(of("deploy", "input_shape", [1, -8, 8])),
        "absurd widths": torch_file(config(channels=[10**6, 10**6])),
        "absurd memory": torch_file(config(hidden=2 * 10**9)),
        "absurd hidden": torch_file(config(hidden=10**10)),
        "widths that are text": torch_file(config(channels="many")),
        "claimed storage": claimed_numel,
        "laughs": torch_file(lambda parts: parts.update(deploy=laughs())),
        "laughs in args": torch_file(lambda parts: imagenet_file(resnet(), T=laughs(), connect_f=laughs())),
        "millions of layers": torch_file(config(channels=[2, 3], blocks=[10**9, 1]), kind="sew_resnet"),
        "laughs as keys": torch_file(lambda parts: {laughs(20): 1, "a" * 10_000_000: 2}),
        "a deep pickle": deep_pickle,
        "a huge string": huge_string,
        "control characters": torch_file(lambda parts: {"model": {"\x1b[2J\x07evil": torch.ones(2)}}),
    },
    "net.t7": {
        "a deep pickle": deep_pickle,
        "code inside": torch_file(of("deploy", "more", Code()), _use_new_zipfile_serialization=False),
    },
    "net.nir": {"external link": hdf5(outside), "a circle": hdf5(circle), "absurd shape": hdf5(absurd)},
    "net.net": {"external link": hdf5(outside), "a circle": hdf5(circle), "absurd shape": hdf5(absurd)},
    "net.onnx": {"protobuf nonsense": written(b"\x3a\xff\xff\xff\xff\x0f")},
    "net.snnhw": {
        "no manifest": lambda path, whole: zipped(path, {"a": b"b"}),
        "manifest is a list": lambda path, whole: zipped(path, {"manifest.json": b"[]"}),
        "nested JSON": nested_json,
        "another schema": manifest(lambda m: m.update(schema=99)),
        "no arrays": manifest(lambda m: m.pop("arrays") and None),
        "changed": manifest(lambda m: m["network"].update(steps=10**12)),
        "a class of Python's": manifest(lambda m: m["network"].update({"$class": "os.system"})),
        "a bomb": lambda path, whole: zipped(path, {"manifest.json": bytes(1 << 20) * 1000}),
    },
    "run.snnhw": {
        "a target of text": manifest(lambda m: m["target"].update(text="hello"), hashed=True),
        "a slice for a network": manifest(lambda m: m.update(network=m["mapping"]), hashed=True),
        "no populations": network(populations=[]),
        "steps of text": network(steps="many"),
        "no steps": network(steps=0),
        "absurd steps": network(steps=10**12),
        "an absurd population": population(1, shape=[10**6, 10**6]),
        "a population of text": population(1, shape=["a"]),
        "a negative population": population(1, shape=[-2, 8, 8]),
        "a kind that does not exist": population(1, kind="magic"),
        "a wide payload": population(1, payload=["a", {}]),
        "a neuron of text": neuron(1, dv="fast"),
        "a decay beyond one": neuron(1, dv=10**30),
        "a shift beyond an integer": neuron(1, act_shift=10**6),
        "a reset that does not exist": neuron(1, reset="magic"),
        "a projection to nowhere": projection(0, post="nowhere"),
        "a delay of text": projection(0, delay="long"),
        "absurd delay": projection(1, delay=10**12, lag=10**12),
        "an exponent beyond an integer": projection(0, weight_exp=10**6),
        "an operator of text": projection(0, op="conv"),
        "weights that are reals": manifest(lambda m: m.update(network=m["reference"]), hashed=True),
        "swapped arrays": manifest(swapped_arrays, hashed=True),
        "a readout that does not exist": network(readout={"$class": "Readout", "kind": "magic", "population": "lif4"}),
    },
    "chip.toml": {"not UTF-8": written(b"\xff\xfe\x00"), "no numbers": written(b'profile = "programmable"')},
    "rules.json": {"nested": written(b"[" * 200_000), "a list": written(b"[1]"), "not UTF-8": written(b"{\xff}")},
    "run.npz": {"absurd shape": npz(npy("(1000000000000, 1000)")), "objects": saved(x=np.array([{}], dtype=object))},
}
"""By the name of the file."""
