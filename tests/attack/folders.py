"""Folders as bytes: a zip of their members, in which a member may also be a link, a pipe or a folder."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.attack.forms import Mutant, members, raw, zipped

ODD = {"link": b"\0link ", "pipe": b"\0pipe", "folder": b"\0folder"}
"""How the content of a member begins that is no file."""

ENDINGS = (".shards", ".zarr", ".images")
"""Of seeds that are folders."""

MEMBERS = ["x.npy", "y.npy", "a.npz", "zz.npz", "b.png", "zarr.json", ".hidden", "é\x1b[0m.npz", "-x.npy", "x" * 250]


def packed(folder: Path) -> bytes:
    """Its files, in the order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped([(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files])


def taken(path: Path) -> bytes:
    """A seed's bytes."""
    return packed(path) if path.is_dir() else path.read_bytes()


def laid(path: Path, blob: bytes) -> None:
    """A file, or the folder that is packed in its bytes, where the last mutant was."""
    if path.suffix not in ENDINGS:
        path.write_bytes(blob)
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name, content in members(blob):
        with suppress(OSError, ValueError):  # no file can have this name, or it would be a folder's
            _lay(path / name, content)


def _lay(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if content.startswith(ODD["link"]):
        place.symlink_to(content.removeprefix(ODD["link"]).decode())
    elif content == ODD["pipe"]:
        os.mkfifo(place)
    elif content == ODD["folder"]:
        place.mkdir()
    else:
        place.write_bytes(content)


def bent(rng: random.Random, blob: bytes, inner: Callable[[random.Random, str, bytes], Mutant]) -> Mutant:
    """A member changed, renamed, dropped, doubled or replaced by what is no file."""
    parts = dict(members(blob))
    name = rng.choice(list(parts))
    kind, checked = rng.randrange(10), False
    if kind < 6:
        parts[name], checked = inner(rng, name, parts[name])
    elif kind == 6:
        del parts[name]
    elif kind == 7:
        other = f"{name.rpartition('/')[0]}/{rng.choice(MEMBERS)}".lstrip("/")
        parts[other] = parts.pop(name) if rng.random() < 0.5 else parts[name]
    elif kind == 8:
        parts[name] = rng.choice([*ODD.values(), b"", b"\0link /dev/zero", b"\0link /nowhere", b"\0link ."])
    else:
        other = rng.choice(list(parts))
        parts[name] = parts[other] if rng.random() < 0.5 else raw(rng, parts[name], list(parts.values()))
    return zipped(list(parts.items())), checked
