"""Mutants of every kind of input that is read; what they are made by is in `forms`, `folders` and `words`."""

from __future__ import annotations

import hashlib
import json
import random
import zipfile
import zlib
from collections.abc import Callable

from google.protobuf.message import DecodeError

from tests.attack import folders, forms, words
from tests.attack.forms import Mutant, Random, bend, in_zip, members, npy, of_npz, raw, zipped


def of_npy(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    return (raw(rng, blob, others) if rng.random() < 0.3 else npy(rng, "x", blob)), False


def of_part(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    """A shard's file, mostly with a right hash."""
    if rng.random() < 0.3:
        return raw(rng, blob, others), True
    if rng.random() < 0.2:
        return in_zip(rng, blob, npy)[0], True  # the hash says no
    parts = {name.removesuffix(".npy"): content for name, content in members(blob)}
    manifest = json.loads(forms.loaded(parts.pop("manifest")).tobytes())
    del manifest["sha256"]
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(parts))
        kind = rng.randrange(10)
        if kind < 5:
            key = rng.choice(list(manifest))
            manifest[key] = bend(rng, manifest[key])
        elif kind < 8:
            parts[name] = npy(rng, name, parts[name])
        elif kind == 8:
            del parts[name]
        else:
            parts[rng.choice([name + "x", "sum:" + name, name.upper(), "y"])] = parts[name]
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(parts):
        digest.update(name.encode() + parts[name])
    text = json.dumps({**manifest, "sha256": digest.hexdigest()}).encode()
    head = forms.npy_header(f"({len(text)},)", "|u1") + text
    return zipped([("manifest.npy", head), *((f"{name}.npy", part) for name, part in parts.items())]), False


def of_folder(rng: Random, blob: bytes, others: list[bytes]) -> Mutant:
    return folders.bent(rng, blob, _member)


def _member(rng: Random, name: str, blob: bytes) -> Mutant:
    """Of pictures and stored shards the CRCs are looked at; arrays and chunks have none."""
    if name.endswith(".npz"):
        return of_npz(rng, blob, [blob])
    if name.endswith(".json") and rng.random() < 0.8:
        return forms.of_json(rng, blob, [blob])
    if name.endswith(".npy"):
        return of_npy(rng, blob, [blob])
    return raw(rng, blob or b"\0", [blob or b"\0"]), name.endswith(".png")


CHECKED = ("snnhw", "npz", "recording", "pt", "resume", "part", "example")
"""Formats with checksums; of torch files, those that are zips."""

OF: dict[str, Callable[[Random, bytes, list[bytes]], Mutant]] = {
    "pt": forms.of_torch,
    "resume": forms.of_torch,
    "safetensors": forms.of_safetensors,
    "snnhw": forms.of_artifact,
    "nir": forms.of_hdf5,
    "onnx": forms.of_onnx,
    "net": forms.of_hdf5,
    "npz": of_npz,
    "npy": of_npy,
    "h5": forms.of_hdf5,
    "shards": of_folder,
    "zarr": of_folder,
    "images": of_folder,
    "recording": of_npz,
    "part": of_part,
    "toml": forms.of_toml,
    "json": forms.of_json,
    "card": forms.of_json,
    "csv": forms.of_csv,
    "point": forms.of_json,
    "weights": forms.of_weights,
    "example": of_npz,
    "events": forms.of_any,
    "words": words.of_words,
}

NOT_MADE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, OSError,
            EOFError, zipfile.BadZipFile, zlib.error, DecodeError)  # fmt: skip
"""Raised where a change cannot be made in a file: its bytes are changed instead."""


def mutant(kind: str, seed: str, blobs: dict[str, bytes]) -> tuple[str, bytes, bool]:
    """(name of the file that it comes from, bytes, whether a checksum of the format still is the old one)."""
    rng = random.Random(f"{kind}:{seed}")
    name = rng.choice(list(blobs))
    others = list(blobs.values())
    try:
        return name, *OF[kind](rng, blobs[name], others)
    except NOT_MADE:
        if OF[kind] in (of_folder, words.of_words):
            return name, blobs[name], False
        return name, raw(rng, blobs[name], others), kind in CHECKED and name != "legacy.pt"
