"""The compiled network as one file: `model.snnhw`, a zip of manifest.json and numpy arrays. No pickle inside."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NotRequired

import numpy as np
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from snnhw import files, neurons
from snnhw.cautions import Caution
from snnhw.encoding import HostOp, InputSpec
from snnhw.errors import ArtifactError, MappingError, SnnhwError
from snnhw.limits import MAX_SAMPLE, fault, is_file, require_sample, require_small
from snnhw.machine import Machine, parse_target
from snnhw.mapping.types import Mapping, Slice
from snnhw.mapping.verify import verify_mapping
from snnhw.network import (
    Array,
    FloatNeuron,
    IntNeuron,
    Kind,
    Network,
    Notes,
    Population,
    Projection,
    Readout,
    verify,
    width,
)
from snnhw.operators import REGISTRY
from snnhw.pack import checked, pack, unpack
from snnhw.rationale import Reason
from snnhw.rows import require_header
from snnhw.semantics import Deployment
from snnhw.summary import summary, table, text

SCHEMA = 2

MAX_MANIFEST = 128 << 20
"""Bytes of the manifest: as objects it takes many times as much."""

STORED = 4 << 20
"""Real-valued arrays of so many bytes are not deflated: their mantissas are noise, and trying takes minutes."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Every entry of the zip carries this date, so that the same network gives the same bytes."""

_CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (
        Caution,
        HostOp,
        InputSpec,
        Mapping,
        Slice,
        Network,
        Notes,
        Reason,
        Population,
        Projection,
        Readout,
        Deployment,
    )
}


_FLAG = TypedDict("_FLAG", {"value": Any, "from": str, "note": NotRequired[str]})


class _Source(TypedDict):
    file: NotRequired[str]
    sha256: NotRequired[str]
    dialect: NotRequired[str]
    flags: NotRequired[dict[str, _FLAG]]


class _Bound(TypedDict):
    population: str
    u: tuple[int, int]
    v: tuple[int, int]
    steps: int
    limit: int
    status: Literal["proven", "unproven"]
    silent: NotRequired[bool]


class _Check(TypedDict):
    stage: str
    status: Literal["failed", "equal", "measured", "skipped"]
    samples: int
    compared: int
    different: int
    detail: str
    excepted: NotRequired[int]


class _Calibration(TypedDict):
    sha256: str
    samples: int
    used: NotRequired[int]
    apart: NotRequired[int]


class _Rows(TypedDict):
    """What is read of an artifact's mappings, of whose keys `Artifact` declares none; others may be there too."""

    source: _Source
    bounds: tuple[_Bound, ...]
    checks: tuple[_Check, ...]
    calibration: _Calibration | None
    semantics: dict[str, Any]


_ROWS = TypeAdapter(tuple[_Rows], config=ConfigDict(strict=True))


@dataclass(frozen=True, repr=False)
class Artifact:
    """Everything a run, a report or a reader needs.

    Args:
        source: where the network came from (file name, recipe, hash of its bytes).
        target: the chip.
        network: integers.
        reference: the float network it stands for.
        deployment: T, encoding, preprocessing and readout of the source.
        inputs: how data become values of the input populations.
        mapping: slices on cores.
        rationale: one reason per integer parameter.
        bounds: per population: interval bounds of u and v, whether they prove that nothing overflows.
        checks: numeric checks between stages with their results.
        calibration: hash and number of the samples used, or None.
        semantics: the source's semantics as written into NIR metadata.
        warnings: what must be known before its results are believed; empty: nothing.
        scales: population -> weight units per real unit, of a shape that broadcasts to it; empty where integers were
            there already.
    """

    source: MappingABC[str, Any]
    target: Machine
    network: Network[IntNeuron]
    reference: Network[FloatNeuron]
    deployment: Deployment
    inputs: tuple[InputSpec, ...]
    mapping: Mapping
    rationale: tuple[Reason, ...] = ()
    bounds: tuple[MappingABC[str, Any], ...] = ()
    checks: tuple[MappingABC[str, Any], ...] = ()
    calibration: MappingABC[str, Any] | None = None
    semantics: MappingABC[str, Any] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    scales: MappingABC[str, Array] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """T: sample steps per sample."""
        return self.network.steps

    def __repr__(self) -> str:
        return text(self._said(), longest=110)

    def _repr_html_(self) -> str:
        return table(self._said())

    def _said(self) -> dict[str, Any]:
        """Short enough for the end of a notebook's cell."""
        said = summary(self, "")
        left_out = ("artifact", "dialect", "projections", "pipeline_fill", "warnings", "bits_per_weight", "memory")
        name = str(self.source.get("file", "a network in memory"))
        warned = {"warned": [str(caution) for caution in self.warnings]} if self.warnings else {}
        return {"compiled_from": name, **warned, **{key: value for key, value in said.items() if key not in left_out}}


def save(artifact: Artifact, path: str | Path) -> None:
    """Write atomically (`files.write`); the same artifact gives the same bytes."""
    files.write({Path(path): lambda out: write_zip(artifact, out)})


def to_bytes(artifact: Artifact) -> bytes:
    """The zip as bytes."""
    out = io.BytesIO()
    write_zip(artifact, out)
    return out.getvalue()


def write_zip(artifact: Artifact, out: IO[bytes]) -> None:
    """The zip, into an open file."""
    arrays: dict[str, Array] = {}
    content = {
        name: pack(getattr(artifact, name), name, arrays)
        for name in (
            "source",
            "network",
            "reference",
            "deployment",
            "inputs",
            "mapping",
            "rationale",
            "bounds",
            "checks",
            "calibration",
            "semantics",
            "warnings",
            "scales",
        )
    }
    content["target"] = {"name": artifact.target.name, "text": artifact.target.text}
    entries = {f"arrays/{i:05d}.npy": array for i, array in enumerate(arrays.values())}
    blobs = {name: _npy(array) for name, array in entries.items()}
    content["arrays"] = dict(zip(arrays, blobs, strict=True))
    manifest = {"schema": SCHEMA, "hash": _hash(content, blobs), **content}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(_entry("manifest.json"), json.dumps(manifest, indent=1, sort_keys=True))
        for name, blob in blobs.items():
            noise = entries[name].dtype.kind == "f" and len(blob) >= STORED
            archive.writestr(_entry(name), blob, zipfile.ZIP_STORED if noise else zipfile.ZIP_DEFLATED)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def _npy(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=False)
    return out.getvalue()


def _hash(content: MappingABC[str, Any], blobs: MappingABC[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(blobs):
        digest.update(name.encode() + hashlib.sha256(blobs[name]).digest())
    return digest.hexdigest()


def load(path: str | Path) -> Artifact:
    """Read and check; raises ArtifactError for missing, damaged or foreign files and other schema versions."""
    path = Path(path)
    if not is_file(path):
        raise ArtifactError("no-such-file", "there is no such file", where=str(path))
    try:
        require_small(path)
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("manifest.json").file_size > MAX_MANIFEST:
                raise _misplaced("its manifest is too long", path.name, "manifest.json", limit=f"{MAX_MANIFEST} bytes")
            manifest = json.loads(archive.read("manifest.json"))
            if manifest.get("schema") != SCHEMA:
                raise ArtifactError(
                    "other-schema",
                    "the artifact was written by another version of snnhw",
                    where=path.name,
                    needed=f"schema {manifest.get('schema')}",
                    limit=f"schema {SCHEMA}",
                    hint="compile the source again",
                )
            names = list(manifest["arrays"].values())
            if len(set(names)) != len(names):
                raise _misplaced("two of its arrays are one", path.name, "arrays")
            blobs = {name: archive.read(name) for name in names}
        return _restore(manifest, blobs, path.name)
    except SnnhwError as error:
        if isinstance(error, ArtifactError) or error.code == "too-big":
            raise
        raise _unreadable(error, path.name) from error
    except Exception as error:  # zip, JSON and numpy raise many kinds; all mean a damaged or foreign file
        raise fault(error, str(path)) or _unreadable(error, path.name) from error


def _unreadable(error: Exception, where: str) -> ArtifactError:
    return ArtifactError(
        "bad-artifact",
        f"not a readable artifact: {type(error).__name__}: {error}",
        where=where,
        hint="compile the source again",
    )


def _restore(manifest: dict[str, Any], blobs: MappingABC[str, bytes], where: str) -> Artifact:
    content = {key: value for key, value in manifest.items() if key not in ("schema", "hash")}
    if _hash(content, blobs) != manifest["hash"]:
        raise ArtifactError(
            "bad-hash", "the artifact was changed after it was written", where=where, hint="compile the source again"
        )
    arrays = {key: _array(blobs[name], where, key) for key, name in content.pop("arrays").items()}
    target, classes = parse_target(**content.pop("target")), {**_CLASSES, **neurons.records(), **REGISTRY}
    found = checked(Artifact, {key: unpack(value, arrays, classes) for key, value in content.items()})
    _ROWS.validate_python(({key: found[key] for key in _Rows.__annotations__},))
    artifact = Artifact(target=target, **found)
    if [s.population for s in artifact.inputs] != [p.name for p in artifact.network.inputs]:
        raise _misplaced("its inputs are not those of its network", where, "inputs")
    for spec in artifact.inputs:
        _require(np.asarray(spec.shape, dtype=object), (1, MAX_SAMPLE), (len(spec.shape),), where, spec.population)
    _check_numbers(artifact.network, target.numeric.decay_bits, where)
    verify(artifact.network)
    _check_bits(artifact.network, target.numeric.weight_bits, where)
    verify(artifact.reference)
    for name, scale in artifact.scales.items():
        shape = artifact.network[name].shape if name in artifact.network.by_name else ()
        fits = np.ndim(scale) in (0, len(shape)) and all(a in (1, b) for a, b in zip(np.shape(scale), shape))  # noqa: B905
        if name not in artifact.network.by_name or not fits or not (np.asarray(scale) > 0).all():
            raise _misplaced("a scale of no population", where, name)
    _check_mapping(artifact, where)
    return artifact


def _array(blob: bytes, where: str, key: str) -> Array:
    require_header(io.BytesIO(blob), len(blob))
    found = np.load(io.BytesIO(blob), allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise _misplaced("a part of it is no array of numbers", where, key)
    return found


READ = ("rate", "first", "mean", "membrane")
"""Kinds of readout."""


def _check_numbers(network: Network[IntNeuron], decay_bits: int, where: str) -> None:
    """Integers where compiled code reads integers, and few enough for a memory."""
    _require(network.steps, (1, MAX_SAMPLE), (), where, "steps")
    for p in network.populations:
        _require(np.asarray(p.shape, dtype=object), (1, MAX_SAMPLE), (len(p.shape),), where, f"{p.name}.shape")
        require_sample(network.steps, p.shape, f"{where}: {p.name}")
        _require(p.payload, (-(1 << 31), 1 << 31), (2,), where, f"{p.name}.payload")
        low, high = p.payload
        most = p.model.max_spikes if p.kind in (Kind.NEURON, Kind.GATE) else 0
        if low > high or (most and (low > 0 or high < most)):
            raise _misplaced(
                "its spikes are larger than it says", where, f"{p.name}.payload", f"0 to {most}", f"{low} to {high}"
            )
        _require(p.start, (0, 1 << 31), (), where, f"{p.name}.start")
        for name, limits in p.model.limits(decay_bits).items() if p.neuron is not None else ():
            value = getattr(p.neuron, name)
            if value is not None:
                _require(value, limits, p.shape, where, f"{p.name}.{name}")
    for q in network.projections:
        _require((q.delay, q.lag), (0, 1 << 31), (2,), where, f"{q.name}.delay")
        _require(q.weight_exp, (-24, 24), (), where, f"{q.name}.weight_exp")
    if network.readout.kind not in READ:
        raise _misplaced("its readout is none", where, str(network.readout.kind))
    for name, weights in network.weights.items():
        _require(weights, (-(1 << 31), 1 << 31), weights.shape, where, f"weights {name}")


def _check_bits(network: Network[IntNeuron], most: int, where: str) -> None:
    """Every weight array has a width that the target has and that holds its weights."""
    for name in network.stored:
        bits = network.bits.get(name)
        if not isinstance(bits, int) or not width(network.weights[name]) <= bits <= most:
            raise _misplaced(f"weights of {bits} bits do not hold these, or the target has none", where, name)


def _require(value: Any, limits: tuple[int, int], shape: tuple[int, ...], where: str, field: str) -> None:
    """Whole numbers within limits that broadcast to a shape."""
    found = np.asarray(value)
    if found.dtype == object and all(isinstance(n, int) for n in found.flat):
        found = found.astype(np.int64) if all(abs(n) < 1 << 62 for n in found.flat) else found
    low, high = limits
    fits = found.ndim <= len(shape) and all(
        a in (1, b) for a, b in zip(found.shape, shape[len(shape) - found.ndim :], strict=True)
    )
    if found.dtype.kind in "iu" and fits and (not found.size or (found.min() >= low and found.max() <= high)):
        return
    raise ArtifactError(
        "bad-artifact",
        "the artifact holds a number that cannot be",
        where=f"{where}: {field}",
        needed=f"{found.ravel()[:4].tolist()} of shape {found.shape}, {found.dtype}",
        limit=f"whole numbers from {low} to {high} of shape {shape}",
        hint="compile the source again",
    )


def _check_mapping(artifact: Artifact, where: str) -> None:
    """The placement holds, so far as what its slices say is true; reasons are of populations that are there."""
    try:
        verify_mapping(artifact.mapping, artifact.target, artifact.network, recount=False)
    except MappingError as error:
        raise _misplaced(error.message, where, str(error.where), error.needed, error.limit) from None
    for reason in artifact.rationale:
        if reason.population not in artifact.network.by_name:
            raise _misplaced("a reason of no population", where, reason.population)


def _misplaced(what: str, where: str, place: str, needed: object = None, limit: object = None) -> ArtifactError:
    return ArtifactError(
        "bad-artifact",
        f"the artifact does not fit together: {what}",
        where=f"{where}: {place}",
        needed=needed,
        limit=limit,
        hint="compile the source again",
    )
