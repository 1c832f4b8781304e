"""Zarr folders of strangers: regular files only, codecs that are known, and Blosc chunks that end where they say."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

from snnhw.errors import DataError
from snnhw.extras import require
from snnhw.rows import require_regular

CODECS = {"bytes", "transpose", "crc32c", "sharding_indexed", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma"}
BLOSC_HEAD = 16
"""Bytes of a chunk's head; unpacked and packed size are its second and last 32 bits."""


def opened(path: Path) -> dict[str, Any]:
    """Arrays of a folder by name, those of `x` and `y` with `shape`, `dtype` and slices; nothing of them is read yet.

    Raises:
        DataError: a pipe, device or linked folder inside, or a codec that is not in CODECS.
    """
    require("zarr", "reading .zarr folders")
    import zarr
    from zarr.storage import LocalStore

    class Store(LocalStore):
        """numcodecs hands a chunk of Blosc to C code that reads as many bytes as its head says."""

        chunks: dict[str, int] = {}  # noqa: RUF012 - of this folder: the class is made for it

        async def get(self, key: str, *given: Any, **named: Any) -> Any:
            return self._sound(key, await super().get(key, *given, **named))

        def get_sync(self, key: str, *given: Any, **named: Any) -> Any:
            return self._sound(key, super().get_sync(key, *given, **named))

        def _sound(self, key: str, found: Any) -> Any:
            size = self.chunks.get(key.partition("/")[0])
            if found is not None and size is not None and not key.endswith((".json", ".zarray", ".zattrs", ".zgroup")):
                head = found.to_bytes()[:BLOSC_HEAD]
                sizes = int.from_bytes(head[4:8], "little"), int.from_bytes(head[12:16], "little")
                if sizes != (size, len(found)):
                    raise ValueError(f"a chunk of {size} bytes in {len(found)} claims to be {sizes[0]} in {sizes[1]}")
            return found

    for place, folders, names in os.walk(path):
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(place, name)))):
            require_regular(Path(place, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are none of zarr's
        group = zarr.open_group(Store(path, read_only=True), mode="r")
        found = {name: group[name] if name in ("x", "y") else None for name in group}
    for name in ("x", "y"):
        array = found.get(name)
        if isinstance(array, zarr.Array):
            codecs = _codecs(array)
            nested = "blosc" in codecs and "sharding_indexed" in codecs
            odd = sorted(set(codecs) - CODECS) or ["blosc in shards"] * nested
            if odd:
                what = f"an array is packed by what is not read: {', '.join(odd)}"
                hint = "write it with zarr's own compressors"
                limit = ", ".join(sorted(CODECS))
                raise DataError("bad-data", what, where=f"{path.name}: {name}", limit=limit, hint=hint)
            if "blosc" in codecs:
                Store.chunks[name] = math.prod(array.chunks) * array.dtype.itemsize
    return found


def _codecs(array: Any) -> list[str]:
    """Names of all that packs an array, inside of shards too."""
    said = array.metadata.to_dict()
    if said["zarr_format"] == 2:
        return [codec["id"] for codec in (said["compressor"], *(said["filters"] or ())) if codec is not None]
    rest, found = list(said["codecs"]), []
    while rest:
        codec = rest.pop()
        found.append(codec["name"])
        rest += codec.get("configuration", {}).get("codecs", ())
        rest += codec.get("configuration", {}).get("index_codecs", ())
    return found
