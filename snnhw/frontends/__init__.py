"""Front ends: each turns one kind of source into a NIR graph with its semantics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnhw.errors import SourceError
from snnhw.frontends.options import SourceOptions, checked, refuse_unused
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.semantics import to_metadata

NOT_YET = {".net": "lava-dl .net"}
CHECKPOINTS = (".pt", ".pth", ".t7")


def load_source(path: str | Path, options: SourceOptions | None = None, samples: Array | None = None) -> Source:
    """The source at a path, by its ending.

    Args:
        options: what the user says of it; a source that says itself takes `steps` and `encoding` only.
        samples: training samples, from which an ONNX file's ReLU network gets its thresholds; else unused.

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
    if path.suffix == ".onnx":
        return _onnx(path, options, samples)
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
        limit=".pt, .pth, .t7, .nir, .onnx",
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


def _onnx(path: Path, options: SourceOptions, samples: Array | None) -> Source:
    """A ReLU network, converted to spikes."""
    from snnhw.frontends.ann import convert_source

    refuse_unused(set(options.given) - {"steps"}, path.name, "--steps: a ReLU network is converted")
    if samples is None or options.steps is None:
        raise SourceError(
            "needs-conversion",
            "a ReLU network becomes a spiking one with thresholds from training samples, and T steps",
            where=path.name,
            needed="--steps T and --calibrate DATA.npz",
            hint="compile it with --emit-nir F.nir: that file is the spiking network, for run, check and compare",
        )
    source = convert_source(path, samples, checked("steps", options.steps, "flag"))
    return replace(source, origin={**source.origin, "flags": {"steps": {"value": options.steps, "from": "flag"}}})


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
