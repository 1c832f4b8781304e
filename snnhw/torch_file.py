"""Reading a torch file without executing anything in it, and without taking much more memory than it has bytes."""

from __future__ import annotations

import io
import mmap
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from snnhw import tensor_file
from snnhw.limits import require_bytes, require_small

FOLDER = 0x10
"""A zip entry's mark of a folder."""

OLDER_PICKLES = 5
"""Pickles at the head of a file that is no zip: mark, version, system, content, keys of the storages."""


def read_torch(path: str | Path, classes: tuple[type, ...] = ()) -> Any:
    """What a file holds, zip, the older format or .safetensors; tensors come to the CPU whatever made them.

    Args:
        classes: what it may hold besides tensors and plain containers.

    Raises:
        SnnhwError: 'too-big'; for everything else whatever zipfile, pickle and torch raise.
    """
    path = Path(path)
    require_small(path)
    if path.suffix == tensor_file.SUFFIX:
        return tensor_file.read(path)
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            _require_whole(file)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:  # no room is made for what it claims
                for _ in range(OLDER_PICKLES):
                    _require_modest(held)
    with warnings.catch_warnings(), torch.serialization.safe_globals(list(classes)):
        warnings.simplefilter("ignore")  # other pickle protocols: what cannot be read raises
        content = torch.load(path, map_location="cpu", weights_only=True)
    require_bytes(_bytes_of(content), path.stat().st_size, path.name)
    return content


def _require_whole(file: IO[bytes]) -> None:
    """Raises what zipfile raises where entries do not have the checksums that the zip says (torch does not look).

    An entry without one (0, as torch writes them with `compute_crc32=False`) is taken as it is.
    """
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.external_attr & FOLDER and not entry.is_dir():
                raise zipfile.BadZipFile(f"{entry.filename} is marked as a folder: torch would read nothing")
            if not entry.CRC:
                del entry.CRC  # zipfile's own way to look at none
            with archive.open(entry) as content:
                if entry.filename.endswith("/data.pkl"):
                    _require_modest(io.BytesIO(content.read()))
                while content.read(1 << 20):
                    pass


def _require_modest(file: Any) -> None:
    """Raises ValueError where a pickle calls what makes memory by a number; torch.save writes none of these.

    torch's restricted reader allows bytearray(2147483647) and FloatTensor(2147483647).
    """
    for code, said, _ in pickletools.genops(file):
        if code.name == "GLOBAL":
            name = str(said).rpartition(" ")[2]
            if name == "bytearray" or (name != "Tensor" and name.endswith("Tensor")):
                raise ValueError(f"it asks for {said}, which no file of weights needs")


def _bytes_of(content: Any) -> int:
    """Of all its tensors, as large as they say they are: one value can be seen as many."""
    total, seen, rest = 0, set(), [content]
    while rest:
        held = rest.pop()
        if isinstance(held, torch.Tensor):
            total += held.numel() * held.element_size()
        elif isinstance(held, (Mapping, list, tuple, set)) and id(held) not in seen:
            seen.add(id(held))
            rest += held.values() if isinstance(held, Mapping) else held
    return total
