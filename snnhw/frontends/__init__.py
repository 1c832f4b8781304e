"""Front ends: each turns one kind of source into a NIR graph with its semantics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.errors import SourceError
from snnhw.extras import require
from snnhw.frontends.options import SourceOptions, checked, code_file, flag_of, refuse_unused
from snnhw.limits import is_file, require_sample
from snnhw.network import Array
from snnhw.readout import require_fitting
from snnhw.semantics import to_metadata

if TYPE_CHECKING:  # options are read without torch and nir
    from snnhw.frontends.source import IntegerSource, Source

CHECKPOINTS = (".pt", ".pth", ".t7", ".safetensors")


@dataclass(frozen=True)
class FrontEnd:
    """One kind of source that is a file.

    Args:
        name: as users know it.
        endings: of its files.
        takes: the options that it takes; every other one is refused before it is asked.
        load: (path, options, what `opens` gave) -> source.
        recognises: (path, what `opens` gave) -> whether a file of these endings is of this kind; the first that does
            reads it.
        extra: what pyproject.toml calls the packages that it needs, '' if none.
        opens: (path, options) -> the file's content, for the kinds that share an ending.
        extra: what pyproject.toml calls the packages that it needs, '' if none.
    """

    name: str
    endings: tuple[str, ...]
    takes: tuple[str, ...]
    load: Callable[[Path, SourceOptions, Any], Source | IntegerSource]
    recognises: Callable[[Path, Any], bool] = lambda path, content: True
    opens: Callable[[Path, SourceOptions], Any] = lambda path, options: None
    extra: str = ""


def load_model(
    path: str | Path, options: SourceOptions | None = None, samples: Array | None = None
) -> Source | IntegerSource:
    """The source at a path, by its ending and content.

    Args:
        options: what the user says of it; each front end declares which it takes.
        samples: training samples, from which an ONNX file's ReLU network gets its thresholds; else their shape counts.

    Raises:
        SourceError: it is missing, damaged, of a kind we do not read, needs an option that is not given, or has no use
            for one that is.
    """
    path, options = Path(path), options or SourceOptions()
    file, _ = code_file(path)
    if not is_file(file):
        raise SourceError("no-such-file", "there is no such file", where=str(file))
    kinds = [kind for kind in FRONT_ENDS if file.suffix in kind.endings]
    if not kinds:
        raise SourceError(
            "unknown-source",
            f"sources ending in {file.suffix or 'nothing'!r} are not known",
            where=path.name,
            limit=", ".join(dict.fromkeys(ending for kind in FRONT_ENDS for ending in kind.endings)),
            hint="compile a checkpoint, a .nir or an .onnx file, or a module: FILE.py:NAME --example DATA.npz",
        )
    _refuse_unused(options, {name for kind in kinds for name in kind.takes}, path, " or ".join(k.name for k in kinds))
    if kinds[0].extra:
        require(kinds[0].extra, f"reading {path.suffix} files")
    content = kinds[0].opens(path, options)
    kind = next(kind for kind in kinds if kind.recognises(path, content))
    _refuse_unused(options, set(kind.takes), path, kind.name)
    if samples is not None:
        options = replace(options, data=np.shape(samples), samples=samples)
    own = {name for name in _ANY if name not in kind.takes}
    kept: dict[str, Any] = dict.fromkeys(own)
    return _read_as(kind.load(path, replace(options, **kept), content), options, own)


_ANY = ("readout", "population")
"""What is said of any source, whether or not its kind asks for it: how its output is read."""


def _read_as(source: Source | IntegerSource, options: SourceOptions, names: set[str]) -> Source | IntegerSource:
    """The source with its output read as the user says, by options that its front end did not take."""
    said = {name: checked(name, options.said(name), "flag") for name in names if options.said(name) is not None}
    if not said:
        return source
    deployment = replace(source.deployment, **said)
    flags = {name: {"value": value, "from": "flag"} for name, value in said.items()}
    origin = {**source.origin, "flags": {**source.origin.get("flags", {}), **flags}}
    from snnhw.frontends.source import IntegerSource

    if isinstance(source, IntegerSource):
        network = source.reference
        readout = replace(network.readout, groups=said["population"])
        require_fitting(readout, network[readout.population].size, network.steps)
        return replace(source, deployment=deployment, origin=origin, reference=replace(network, readout=readout))
    source.graph.metadata = to_metadata(source.semantics, deployment)
    return replace(source, deployment=deployment, origin=origin)


def load_source(path: str | Path, options: SourceOptions | None = None, samples: Array | None = None) -> Source:
    """`load_model` of a source in floats; a file whose network is integers already is refused."""
    from snnhw.frontends.source import IntegerSource, Source

    found = load_model(path, options, samples)
    if isinstance(found, IntegerSource):
        found.nir_graph()
    assert isinstance(found, Source)
    return found


def _refuse_unused(options: SourceOptions, takes: set[str], path: Path, name: str) -> None:
    trusted = {name for name in ("trust_pickle", "trust_code") if getattr(options, name)}
    given = set(options.given) - set(_ANY) | trusted
    refuse_unused(given - takes, path.name, f"{name} takes {', '.join(map(flag_of, sorted(takes)))}" if takes else name)


def _net(path: Path, options: SourceOptions, content: Any) -> IntegerSource:
    from snnhw.frontends.netx.load import load_net

    return load_net(path, options)


def _nir(path: Path, options: SourceOptions, content: Any) -> Source:
    from snnhw.frontends.nir.file import load_nir

    source = load_nir(path, options)
    require_sample(source.deployment.steps, source.deployment.input_shape, path.name)
    return source


def _open_checkpoint(path: Path, options: SourceOptions) -> tuple[Any, bool]:
    from snnhw.frontends.trusted import read_checkpoint

    return read_checkpoint(path, options)


def _is_module(path: Path, opened: Any) -> bool:
    from snnhw.frontends.trusted import module_in

    return module_in(opened[0]) is not None


def _is_ours(path: Path, opened: Any) -> bool:
    return isinstance(opened[0], dict) and "format" in opened[0]


def _module_file(path: Path, options: SourceOptions, opened: Any) -> Source:
    from snnhw.frontends.trusted import load_module_file, module_in

    module = module_in(opened[0])
    assert module is not None
    return _trusted(load_module_file(module, path, options), opened)


def _ours(path: Path, options: SourceOptions, opened: Any) -> Source:
    from snnhw.frontends.checkpoint import load_checkpoint

    return _trusted(_with(load_checkpoint(opened[0], path), options), opened)


def _published(path: Path, options: SourceOptions, opened: Any) -> Source:
    from snnhw.frontends.official.load import load_official
    from snnhw.frontends.restricted import require_dictionary

    return _trusted(load_official(require_dictionary(opened[0], path), path, options), opened)


def _trusted(source: Source, opened: Any) -> Source:
    return replace(source, origin={**source.origin, "trusted_pickle": True}) if opened[1] else source


def _is_step(path: Path, content: Any) -> bool:
    from snnhw.frontends.onnx.source import is_step

    return is_step(path)


def _step(path: Path, options: SourceOptions, content: Any) -> Source:
    from snnhw.frontends.onnx.source import load_step

    return load_step(path, options)


def _relu(path: Path, options: SourceOptions, content: Any) -> Source:
    """A ReLU network, converted to spikes."""
    from snnhw.frontends.ann import convert_source

    if options.samples is None or options.steps is None:
        raise SourceError(
            "needs-conversion",
            "a ReLU network becomes a spiking one with thresholds from training samples, and T steps",
            where=path.name,
            needed="--steps T and --calibrate DATA.npz",
            hint="compile it with --emit-nir F.nir: that file is the spiking network, for run, check and compare",
        )
    source = convert_source(path, options.samples, checked("steps", options.steps, "flag"))
    return replace(source, origin={**source.origin, "flags": {"steps": {"value": options.steps, "from": "flag"}}})


def _code(path: Path, options: SourceOptions, content: Any) -> Source:
    from snnhw.frontends.code import load_code

    return load_code(path, options)


def _with(source: Source, options: SourceOptions) -> Source:
    """T and encoding may be others than those in training; the rest such a source says itself."""
    given = options.given
    if not given:
        return source
    changes = {name: checked(name, value, "flag") for name, value in given.items()}
    deployment = replace(source.deployment, **changes)
    source.graph.metadata = to_metadata(source.semantics, deployment)
    flags = {name: {"value": value, "from": "flag"} for name, value in changes.items()}
    return replace(source, deployment=deployment, origin={**source.origin, "flags": flags})


_FAMILY = ("architecture", "steps", "connect", "neuron", "threshold", "decay", "alpha", "tdbn_dialect")
FRONT_ENDS: list[FrontEnd] = [
    FrontEnd(
        "a pickled module",
        CHECKPOINTS,
        ("steps", "input_shape", "encoding", "readout", "trust_pickle"),
        _module_file,
        _is_module,
        _open_checkpoint,
    ),
    FrontEnd(
        "a checkpoint of snnhw train",
        CHECKPOINTS,
        ("steps", "encoding", "trust_pickle"),
        _ours,
        _is_ours,
        _open_checkpoint,
    ),
    FrontEnd(
        "a published checkpoint",
        CHECKPOINTS,
        (*_FAMILY, "encoding", "input_shape", "readout", "trust_pickle"),
        _published,
        opens=_open_checkpoint,
    ),
    FrontEnd("a NIR file", (".nir",), ("steps", "encoding", "readout", "output_node", "dialect", "semantics"), _nir),
    FrontEnd(
        "an ONNX step",
        (".onnx",),
        ("steps", "encoding", "readout", "output_node", "state"),
        _step,
        _is_step,
        extra="onnx",
    ),
    FrontEnd("an ONNX file of a ReLU network", (".onnx",), ("steps",), _relu, extra="onnx"),
    FrontEnd(
        "a Python file",
        (".py",),
        ("steps", "encoding", "readout", "example", "weights", "trust_code"),
        _code,
    ),
    FrontEnd("a .net file", (".net",), ("steps", "encoding", "input_shape", "readout", "semantics"), _net),
]
"""Every kind of file that is read, and what it takes; one more is one more entry."""
