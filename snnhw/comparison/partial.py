"""What some samples gave, as integers that add up: counted in one process, merged in another, kept in a file.

A part file is a zip of .npy arrays (numpy's .npz): those of `Part.arrays`, and `manifest`, JSON that says what the part
is of, with a SHA-256 of all the rest.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from snnhw import files
from snnhw.data import load_recording
from snnhw.errors import DataError
from snnhw.network import Array
from snnhw.version import version

SAME = (
    "kind", "snnhw", "artifact", "data", "engine", "batch", "total", "shards", "input", "judge", "timing", "boundary",
    "sample", "trace",
)  # fmt: skip
"""What all parts of one run have in common."""


_Count = Annotated[int, Field(ge=0, lt=1 << 53)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Raster(_Strict):
    name: str
    neurons: list[_Count]
    events: list[tuple[_Count, _Count]] | None
    float_: list[tuple[_Count, _Count]] | None


class _Of(_Strict):
    """What a part's manifest says."""

    kind: Literal["run", "compare"]
    snnhw: str
    engine: str
    first: _Count
    last: _Count
    total: _Count
    batch: _Count
    shards: _Count
    artifact: str | None
    data: str | None
    input: tuple[str | None, _Count | None, int | None] | None
    judge: Literal["classes", "values"] | None
    timing: Literal["analytic", "event"] | None
    boundary: Literal["core", "chip", "board"] | None
    trace: bool | None
    sha256: str
    static: dict[str, bool] | None = None
    rasters: list[_Raster] | None = None
    sample: _Count | None = None
    path: str = ""


LARGEST = float(1 << 53)
"""Of a sum in a part: several of them add up exactly."""


@dataclass(frozen=True)
class Part:
    """The samples [first, last) of a run.

    Args:
        arrays: those named `sum:…` are added up, of `min:…` and `max:…` the smallest and largest are kept, `once:…` are
            equal in all parts; all others have an entry for each sample and follow each other.
        of: what the part is of: `first`, `last`, and what SAME names.
    """

    arrays: Mapping[str, Array]
    of: Mapping[str, Any]

    def __add__(self, other: Part) -> Part:
        """With the samples that follow."""
        arrays = {name: _joined(name, self.arrays[name], other.arrays[name]) for name in self.arrays}
        seen = {"rasters": self.of["rasters"] or other.of["rasters"]} if "rasters" in self.of else {}
        return Part(arrays, {**self.of, **seen, "last": other.of["last"]})

    def under(self, prefix: str) -> dict[str, Array]:
        """Arrays of populations, by name."""
        start = prefix + "/"
        return {name.removeprefix(start): array for name, array in self.arrays.items() if name.startswith(start)}


def _joined(name: str, a: Array, b: Array) -> Array:
    how = name.partition(":")[0] if ":" in name else ""
    match how:
        case "sum":
            return np.asarray(a + b)
        case "min" | "max":
            return np.asarray((np.minimum if how == "min" else np.maximum)(a, b))
        case "once":
            return a
        case _:
            return np.concatenate([a, b])


def shard_of(total: int, batch: int, shard: tuple[int, int]) -> tuple[int, int]:
    """First and last sample of shard I of N (from 1): whole batches, so that every batch is as in one process.

    Raises:
        DataError: 'too-many-shards' where a shard would have no sample.
    """
    number, shards = shard
    batches = -(-total // batch)
    if shards > batches:
        raise DataError(
            "too-many-shards",
            "there are fewer batches of samples than shards",
            where=f"--shard {number}/{shards}",
            needed=f"{shards} batches",
            limit=f"{total} samples in batches of {batch}: {batches}",
        )
    return (number - 1) * batches // shards * batch, min(number * batches // shards * batch, total)


def save(part: Part, path: str | Path) -> None:
    """Write atomically."""
    manifest = {**part.of, "sha256": _hash(part)}
    content = {"manifest": np.frombuffer(json.dumps(manifest, sort_keys=True).encode(), np.uint8), **part.arrays}
    files.write({Path(path): lambda out: np.savez_compressed(out, **content)})  # type: ignore[arg-type]


def load(path: str | Path) -> Part:
    """Read and check; raises DataError 'bad-part' for anything but an undamaged part."""
    found = load_recording(path)
    try:
        text = found.pop("manifest").tobytes()
        said = _Of.model_validate_json(text)
        manifest = json.loads(text)
        del manifest["sha256"]
        part = Part(found, manifest)
    except (KeyError, ValueError, RecursionError):  # pydantic's errors are ValueErrors
        raise _bad(str(path)) from None
    samples, told = said.last - said.first, (said.rasters, said.static, said.sample, said.timing, said.boundary)
    whole = said.kind == "run" or None not in told
    if said.sha256 != _hash(part) or samples < 1 or not whole:
        raise _bad(str(path))
    for name, array in found.items():
        summed = name.startswith("sum:")
        if summed and (array.dtype.kind not in "iu" or (np.abs(array.astype(np.float64)) > LARGEST).any()):
            raise _bad(f"{path}: {name}")
        if ":" not in name and array.shape[:1] != (samples,):
            raise _bad(f"{path}: {name}")
    return part


def _bad(where: str) -> DataError:
    what = "this is no part of a run, or it was damaged"
    return DataError("bad-part", what, where=where, hint="run the shard again")


def require_arrays(part: Part, wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises DataError 'bad-part' where a part has not these arrays in these shapes; None stands for any length."""
    for name, shape in wanted.items():
        found = part.arrays[name].shape if name in part.arrays else None
        if (
            found is None
            or len(found) != len(shape)
            or any(n not in (None, m) for n, m in zip(shape, found, strict=True))
        ):
            raise _bad(name)


def require_inputs(part: Part, names: Iterable[str]) -> None:
    """Raises DataError 'bad-part' where a part does not say of these inputs, and no others, whether they are static."""
    if set(part.of["static"]) != set(names):
        raise _bad("static")


def _hash(part: Part) -> str:
    digest = hashlib.sha256(json.dumps(part.of, sort_keys=True).encode())
    for name in sorted(part.arrays):
        out = io.BytesIO()
        np.save(out, part.arrays[name], allow_pickle=False)
        digest.update(name.encode() + out.getvalue())
    return digest.hexdigest()


def merged(parts: Sequence[Part]) -> Part:
    """All samples of a run.

    Raises:
        DataError: parts of different runs, two with the same samples, or samples that no part has.
    """
    parts = sorted(parts, key=lambda part: int(part.of["first"]))
    said: dict[str, list[str]] = {key: [json.dumps(part.of[key], sort_keys=True) for part in parts] for key in SAME} | {
        "arrays": [str({name: _form(part, name) for name in sorted(part.arrays)}) for part in parts]
    }
    for key, texts in said.items():
        found = list(dict.fromkeys(texts))
        if len(found) > 1:
            hint = "merge parts of one run, made by one version from the same artifact and data"
            raise DataError(
                "parts-differ", "the parts are of different runs", where=key, needed=found[0], limit=found[1], hint=hint
            )
    at = 0
    for part in [*parts, replace(parts[0], of={**parts[0].of, "first": parts[0].of["total"]})]:
        first, place = part.of["first"], f"samples {min(at, part.of['first'])} to {max(at, part.of['first']) - 1}"
        if first > at:
            raise DataError(
                "parts-missing", "samples are in no part", where=place, hint="run the shards that are missing"
            )
        if first < at:
            raise DataError("parts-overlap", "samples are in two parts", where=place, hint="give every shard once")
        at = int(part.of["last"])
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _form(part: Part, name: str) -> tuple[Any, ...]:
    """What an array has in common with its namesakes in other parts of a run."""
    array = part.arrays[name]
    if name.startswith("once:"):
        return str(array.dtype), array.tolist()
    return str(array.dtype), array.shape if ":" in name else array.shape[1:]


def of_run(
    kind: str, engine: str, first: int, last: int, total: int, batch: int, shards: int, **more: Any
) -> dict[str, Any]:
    """What a part is of."""
    said = {
        "artifact": None,
        "data": None,
        "input": None,
        "judge": None,
        "timing": None,
        "boundary": None,
        "sample": None,
        "trace": None,
        **more,
    }
    return {
        "kind": kind, "snnhw": version(), "engine": engine, "first": first, "last": last, "total": total,
        "batch": batch, "shards": shards, **said,
    }  # fmt: skip
