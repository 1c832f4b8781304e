"""How much of a file is read: what claims to hold more is refused before it is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from snnhw.errors import SnnhwError

MAX_BYTES = 4 << 30


def require_small(path: str | Path) -> None:
    """Raises SnnhwError 'too-big' where a file, or what a zip says it unpacks to, is beyond MAX_BYTES."""
    path = Path(path)
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(info.file_size for info in archive.infolist()))
    if size > MAX_BYTES:
        raise SnnhwError(
            "too-big",
            "the file unpacks to too much",
            where=path.name,
            needed=f"{size} bytes",
            limit=f"{MAX_BYTES} bytes",
        )
