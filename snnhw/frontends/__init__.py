"""Front ends: each turns one kind of source into a NIR graph with its semantics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnhw.errors import SourceError
from snnhw.frontends.options import SourceOptions, checked, refuse_unused
from snnhw.frontends.source import Source
from snnhw.semantics import to_metadata

NOT_YET = {".onnx": "ONNX", ".net": "lava-dl .net"}
CHECKPOINTS = (".pt", ".pth", ".t7")


def load_source(path: str | Path, options: SourceOptions | None = None) -> Source:
    """The source at a path, by its ending.

    Args:
        options: what the user says of it; a source that says itself takes `steps` and `encoding` only.

    Raises:
        SourceError: it is missing, damaged, of a kind we do not read, or needs an option that is not given.
    """
    path, options = Path(path), options or SourceOptions()
    if not path.is_file():
        raise SourceError("no-such-file", "there is no such file", where=str(path))
    if path.suffix in CHECKPOINTS:
        return _checkpoint(path, options)
    if path.suffix == ".nir":
        from snnhw.frontends.nir_file import load_nir

        return _with(load_nir(path), options)
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
        limit=".pt, .pth, .t7, .nir",
        hint="compile the checkpoint or a .nir of ours",
    )


def _checkpoint(path: Path, options: SourceOptions) -> Source:
    """Ours say what they are; others are told by their keys."""
    from snnhw.frontends.restricted import read_restricted

    content = read_restricted(path)
    if "format" in content:
        from snnhw.frontends.checkpoint import load_checkpoint

        return _with(load_checkpoint(content, path), options)
    from snnhw.frontends.official import load_official

    return load_official(content, path, options)


def _with(source: Source, options: SourceOptions) -> Source:
    """T and encoding may be others than those in training; the rest such a source says itself."""
    given = options.given
    refuse_unused(set(given) - {"steps", "encoding"}, str(source.origin["file"]), "a source that says this itself")
    if not given:
        return source
    changes = {name: checked(name, value, "flag") for name, value in given.items()}
    deployment = replace(source.deployment, **changes)
    source.graph.metadata = to_metadata(source.semantics, deployment)
    flags = {name: {"value": value, "from": "flag"} for name, value in changes.items()}
    return replace(source, deployment=deployment, origin={**source.origin, "flags": flags})
