"""An artifact as an ONNX file: the integer step of its network, to be run anywhere (docs/onnx.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnhw import files
from snnhw.artifact import Artifact
from snnhw.engines.onnx.step import step_model
from snnhw.version import __version__


def onnx_model(artifact: Artifact) -> Any:
    """The ModelProto, with the encoding of samples in its metadata; a host's layer is part of the graph."""
    encodings = [
        {"name": f"values/{s.population}", "encoding": s.encoding, "seed": s.seed, "exact": s.exact, "part": s.part}
        for s in artifact.inputs
    ]
    source = {key: str(artifact.source[key]) for key in ("file", "sha256") if key in artifact.source}
    said = {"encodings": encodings, "target": artifact.target.name, "source": source, "snnhw": __version__}
    return step_model(artifact.network, artifact.inputs, said, widths=artifact.target.widths)


def write_onnx(artifact: Artifact, path: str | Path) -> None:
    """Write it, whole or not at all.

    Raises:
        EngineError: the weights are more than an ONNX file can hold.
        DataError: the file cannot be written.
    """
    files.write({Path(path): onnx_model(artifact).SerializeToString(deterministic=True)})
