"""Front ends: each turns one kind of source into a NIR graph with its semantics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.options import SourceOptions, checked, refuse_unused
from snnhw.frontends.source import IntegerSource, Source
from snnhw.limits import is_file, require_sample
from snnhw.network import Array
from snnhw.semantics import to_metadata

CHECKPOINTS = (".pt", ".pth", ".t7")


def load_model(
    path: str | Path, options: SourceOptions | None = None, samples: Array | None = None
) -> Source | IntegerSource:
    """`load_source`, and lava-dl's .net files, whose networks are integers already."""
    if Path(path).suffix == ".net" and is_file(path):
        from snnhw.frontends.netx import load_net

        return load_net(path, options)
    return load_source(path, options, samples)


def load_source(path: str | Path, options: SourceOptions | None = None, samples: Array | None = None) -> Source:
    """The source at a path, by its ending.

    Args:
        options: what the user says of it; a source that says itself takes `steps` and `encoding` only.
        samples: training samples, from which an ONNX file's ReLU network gets its thresholds; else unused.

    Raises:
        SourceError: it is missing, damaged, of a kind we do not read, or needs an option that is not given.
    """
    path, options = Path(path), options or SourceOptions()
    if not is_file(path):
        raise SourceError("no-such-file", "there is no such file", where=str(path))
    if options.trust_pickle and path.suffix not in CHECKPOINTS:
        refuse_unused({"trust_pickle"}, path.name, f"--trust-pickle is for {', '.join(CHECKPOINTS)}")
    if path.suffix in CHECKPOINTS:
        return _checkpoint(path, options)
    if path.suffix == ".nir":
        from snnhw.frontends.nir.file import load_nir

        source = load_nir(path, options if samples is None else replace(options, data=np.shape(samples)))
        require_sample(source.deployment.steps, source.deployment.input_shape, path.name)
        return source
    if path.suffix == ".onnx":
        return _onnx(path, options, samples)
    raise SourceError(
        "unknown-source",
        f"sources ending in {path.suffix or 'nothing'!r} are not known",
        where=path.name,
        limit=".pt, .pth, .t7, .nir, .onnx, .net",
        hint="compile the checkpoint or a .nir of ours",
    )


def _checkpoint(path: Path, options: SourceOptions) -> Source:
    """Ours say what they are; others are told by their keys, or are modules if the user trusts the file."""
    from snnhw.frontends.trusted import read_checkpoint

    content, trusted = read_checkpoint(path, options)
    source = _of_content(content, path, options)
    return replace(source, origin={**source.origin, "trusted_pickle": True}) if trusted else source


def _of_content(content: Any, path: Path, options: SourceOptions) -> Source:
    from snnhw.frontends.restricted import require_dictionary
    from snnhw.frontends.trusted import load_module_file, module_in

    module = module_in(content)
    if module is not None:
        return load_module_file(module, path, options)
    content = require_dictionary(content, path)
    if "format" in content:
        from snnhw.frontends.checkpoint import load_checkpoint

        return _with(load_checkpoint(content, path), options)
    from snnhw.frontends.official.load import load_official

    return load_official(content, path, options)


def _onnx(path: Path, options: SourceOptions, samples: Array | None) -> Source:
    """One step of a spiking network as it is; a ReLU network, converted to spikes."""
    from snnhw.frontends.ann import convert_source
    from snnhw.frontends.onnx.source import is_step, load_step

    if is_step(path):
        return load_step(path, options if samples is None else replace(options, data=np.shape(samples)))
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
