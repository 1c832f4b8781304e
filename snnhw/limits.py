"""How much is held at once: of a file (what claims to hold more is refused before it is unpacked), and of a run."""

from __future__ import annotations

import zipfile
from pathlib import Path

from snnhw.errors import SnnhwError

MAX_BYTES = 4 << 30

MAX_VALUES = 1 << 25
"""Values (samples x steps x neurons) of one population in memory at once; an engine holds several arrays of them."""


def samples_at_once(values: int, most: int) -> int:
    """How many samples of so many values each are run as one batch: at least one, at most `most`."""
    return max(1, min(most, MAX_VALUES // max(values, 1)))


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
