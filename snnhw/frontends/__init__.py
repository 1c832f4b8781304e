"""Front ends: each turns one kind of source into a NIR graph with its semantics."""

from __future__ import annotations

from pathlib import Path

from snnhw.errors import SourceError
from snnhw.frontends.source import Source

NOT_YET = {".onnx": "ONNX", ".net": "lava-dl .net", ".t7": "STBP .t7"}


def load_source(path: str | Path) -> Source:
    """The source at a path, by its ending; raises SourceError when it is missing or of a kind we do not read."""
    path = Path(path)
    if not path.is_file():
        raise SourceError("no-such-file", "there is no such file", where=str(path))
    if path.suffix in (".pt", ".pth"):
        from snnhw.frontends.checkpoint import load_checkpoint

        return load_checkpoint(path)
    if path.suffix == ".nir":
        from snnhw.frontends.nir_file import load_nir

        return load_nir(path)
    kind = NOT_YET.get(path.suffix)
    what = (
        f"{kind} files are not supported yet"
        if kind
        else f"sources ending in {path.suffix or 'nothing'!r} are not known"
    )
    raise SourceError(
        "unknown-source",
        what,
        where=path.name,
        limit=".pt, .pth, .nir",
        hint="compile the .pt checkpoint or a .nir of ours",
    )
