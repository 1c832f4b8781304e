"""Samples `x`, labels `y` if there are any: an .npz file, a folder of shards or images, HDF5, zarr. Refused by name."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnhw import files, limits
from snnhw.errors import DataError, SnnhwError
from snnhw.images import of_folder
from snnhw.limits import fault, is_file, require_sample, require_small
from snnhw.network import Array
from snnhw.rows import Rows, joined, of_array, of_npy, of_npz, require_finite, require_header, require_regular
from snnhw.zarrs import opened


@dataclass(frozen=True)
class Samples:
    """Samples (B, ...) as the user gives them; labels (B,), real values (B, ...), or None.

    Args:
        x: in memory, or read slice by slice (`rows.Rows`).
        unread: other arrays of the file.
    """

    x: Array | Rows
    y: Array | None
    unread: tuple[str, ...] = ()

    def first(self, count: int | None) -> Samples:
        """The first `count` samples, or all."""
        if count is None:
            return self
        return self.part(0, count)

    def part(self, first: int, last: int) -> Samples:
        """Samples [first, last); nothing is read that is not in memory."""
        x = self.x.cut(first, last) if isinstance(self.x, Rows) else self.x[first:last]
        return replace(self, x=x, y=None if self.y is None else self.y[first:last])

    @property
    def held(self) -> Array:
        """All samples in memory; see `Rows.whole`."""
        return self.x.whole() if isinstance(self.x, Rows) else self.x

    @property
    def digest(self) -> str:
        """SHA-256 of shape, type, labels, and the first and last sample: tells data sets apart, not single samples."""
        found = hashlib.sha256(repr((tuple(self.x.shape), str(self.x.dtype))).encode())
        for part in (self.y, self.x[:1], self.x[len(self.x) - 1 :]):
            found.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        return found.hexdigest()


def load_samples(path: str | Path, *, preprocess: str | None = None, held: int | None = None) -> Samples:
    """Samples and, if there are any, labels; raises DataError for anything that holds none.

    An .npz (`x`, `y`; `x/NAME` of several inputs are joined in the order of their names), HDF5 (.h5, .hdf5) or zarr
    (.zarr) with `x` and `y`, one .npy of samples, a folder of .npz shards or of x*.npy and y*.npy, in the order of
    their names, or a folder of images (`images.of_folder`).

    Args:
        preprocess: what is done to images.
        held: an .npz of more bytes is read slice by slice, as all others are; MAX_BYTES if None.
    """
    path, held = Path(path), limits.MAX_BYTES if held is None else held
    folder = os.path.isdir(path)  # `Path.is_dir` raises where a folder above forbids to look
    if preprocess is not None and not folder:
        raise DataError("bad-preprocess", "only images of a folder are preprocessed", where=str(path))
    if folder or path.suffix in (".npy", ".h5", ".hdf5"):
        return _in_slices(path, preprocess, held)
    if not is_file(path):
        raise DataError("no-such-file", "there is no such file", where=str(path))
    try:
        if zipfile.is_zipfile(path) and _unpacked(path) > held:
            return _in_slices(path, None, held)
        with _opened(path) as content:
            names = list(content)
            found = {name: content[name] for name in names if name in ("x", "y") or name.startswith("x/")}
            for name in content.zip.namelist():
                content.zip.open(name).close()  # names of arrays have no checksum, but are there twice
    except SnnhwError:
        raise
    except Exception as error:  # zip and numpy raise many kinds; all mean the same to the user
        raise fault(error, str(path)) or DataError(
            "bad-data",
            f"not a readable .npz file: {type(error).__name__}: {error}",
            where=path.name,
            hint="write it with numpy.savez(path, x=samples, y=labels)",
        ) from error
    return _checked(found, names, path.name)


def _opened(path: Path) -> Any:
    """An .npz file of bounded size, nothing of it unpacked yet."""
    require_small(path)
    with zipfile.ZipFile(path) as archive:  # numpy would read an .npy or a pickle as well
        for entry in archive.infolist():
            with archive.open(entry) as content:
                require_header(content, entry.file_size)
    return np.load(path, allow_pickle=False)


def _unpacked(path: Path) -> int:
    """Bytes that a zip says it holds."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _in_slices(path: Path, preprocess: str | None, held: int) -> Samples:
    """Samples that stay where they are until they are asked for."""
    try:
        x, y, unread = _rows(path, preprocess, held)
    except SnnhwError:
        raise
    except Exception as error:  # readers raise many kinds
        raise fault(error, str(path)) or DataError(
            "bad-data", f"not readable samples: {type(error).__name__}: {error}", where=path.name
        ) from error
    return _checked({"x": x, **({} if y is None else {"y": y})}, [*unread], path.name)


def _rows(path: Path, preprocess: str | None, held: int) -> tuple[Rows, Array | None, tuple[str, ...]]:
    """Samples, labels, and the names of what is not read."""
    if path.suffix in (".h5", ".hdf5"):
        import h5py

        from snnhw.hdf5 import require_plain

        require_regular(path)
        file = h5py.File(path, "r")
        require_plain(file, path.name, "copy the arrays into one file", most=None)
        return _named(file, path)
    if path.suffix == ".zarr":
        return _named(opened(path), path)
    if path.suffix == ".npy":
        return of_npy(path), None, ()
    if path.is_file():
        return _shard(path, held)
    shards = sorted(part for part in path.iterdir() if part.suffix in (".npy", ".npz"))
    if not shards:
        return *of_folder(path, preprocess), ()
    if any(part.suffix == ".npy" for part in shards):
        arrays = [(part.name, of_npy(part)) for part in shards if part.suffix == ".npy"]
        labels = [rows for name, rows in arrays if name.startswith("y")]
        whole = joined([rows for name, rows in arrays if not name.startswith("y")], path.name)
        own = _labels(whole, joined(labels, path.name) if labels else None, path.name)
        return whole, own, tuple(part.name for part in shards if part.suffix == ".npz")
    found = [_shard(part, held) for part in shards]
    without = [part for part, (_, y, _) in zip(shards, found, strict=True) if y is None]
    if 0 < len(without) < len(found):
        hint = "give every shard its y, or none"
        raise DataError("bad-labels", "some shards have labels and some have none", where=str(without[0]), hint=hint)
    y = None if without else np.concatenate([np.asarray(y) for _, y, _ in found])
    return joined([x for x, _, _ in found], path.name), y, found[0][2]


def _named(group: Any, path: Path) -> tuple[Rows, Array | None, tuple[str, ...]]:
    """`x` and `y` of a file of named arrays."""
    if "x" not in group:
        raise _without_x(list(group), path.name)
    rows = {name: of_array(group[name], f"{path.name}: {name}") for name in ("x", "y") if name in group}
    y = _labels(rows["x"], rows.get("y"), path.name)
    return rows["x"], y, tuple(name for name in group if name not in ("x", "y"))


def _shard(path: Path, held: int) -> tuple[Rows, Array | None, tuple[str, ...]]:
    require_regular(path)
    if _compressed(path):
        require_small(path, held)
    with np.load(path, allow_pickle=False) as content:
        names = list(content)
    if "x" not in names:
        raise _without_x(names, path.name)
    x = of_npz(path, "x")
    y = _labels(x, of_npz(path, "y") if "y" in names else None, path.name)
    return x, y, tuple(name for name in names if name not in ("x", "y"))


def _labels(x: Rows, y: Rows | None, where: str) -> Array | None:
    """Labels in memory, once it is known that they are as many as the samples."""
    if y is None:
        return None
    _require_labels(x, y, where)
    return y.whole()


def _compressed(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())


def _without_x(names: list[str], where: str) -> DataError:
    limit = f"has {', '.join(names) or 'nothing'}"
    return DataError("bad-data", "the file holds no array named x", where=where, needed="x", limit=limit)


def _checked(found: dict[str, Any], names: list[str], where: str) -> Samples:
    odd = [name for name, array in found.items() if not isinstance(array, (np.ndarray, Rows))]
    if odd:
        raise DataError("bad-data", "a part of the file is no array", where=f"{where}: {odd[0]}")
    unread = tuple(name for name in names if name not in found)
    if "x" not in found and len(found) > ("y" in found):
        found["x"] = _joined({name: x for name, x in sorted(found.items()) if name != "y"}, where)
    if "x" not in found:
        raise _without_x(names, where)
    x, y = found["x"], found.get("y")
    if x.dtype.kind not in "fiub":
        raise DataError("bad-data", f"samples of type {x.dtype} are not numbers", where=f"{where}: x")
    if isinstance(x, np.ndarray):
        require_finite(x, f"{where}: x")
    if x.ndim < 2 or x.shape[0] == 0:
        raise DataError(
            "bad-shape", "there are no samples", where=f"{where}: x", needed="(samples, ...)", limit=f"got {x.shape}"
        )
    require_sample(1, x.shape[1:], f"{where}: x")
    if y is not None:
        _require_labels(x, y, where)
        require_finite(y, f"{where}: y")
    return Samples(x, y, unread)


def _require_labels(x: Array | Rows, y: Array | Rows, where: str) -> None:
    if y.shape[:1] != x.shape[:1] or not (y.dtype.kind == "f" or (y.ndim == 1 and y.dtype.kind in "iu")):
        raise DataError(
            "bad-labels",
            "labels do not fit the samples",
            where=f"{where}: y",
            needed=f"({len(x)},) integers",
            limit=f"got {y.shape} {y.dtype}",
            hint="classes are integers (samples,); values of outputs are floats (samples, outputs...)",
        )


def _joined(parts: dict[str, Array], where: str) -> Array:
    """Sequences (samples, T, ...) of several inputs as flat samples (samples, T, n)."""
    if any(x.ndim < 3 or not x.size or x.shape[:2] != next(iter(parts.values())).shape[:2] for x in parts.values()):
        raise DataError(
            "bad-shape",
            "the arrays of several inputs are not sequences of the same length",
            where=f"{where}: {', '.join(parts)}",
            needed="(samples, T, ...) each, with the same samples and T",
            limit="; ".join(str(x.shape) for x in parts.values()),
            hint="give static samples flat, as one x",
        )
    return np.concatenate([x.reshape(*x.shape[:2], -1) for x in parts.values()], axis=2)


def save_arrays(path: str | Path, arrays: dict[str, Any]) -> None:
    """Write an .npz atomically (`files.write`)."""
    files.write({Path(path): lambda out: np.savez_compressed(out, **arrays)})


def load_recording(path: str | Path) -> dict[str, Array]:
    """Arrays that `snnhw run --record` wrote; raises DataError for anything else."""
    path = Path(path)
    if not is_file(path):
        raise DataError("no-such-file", "there is no such file", where=str(path))
    try:
        with _opened(path) as content:
            found = {name: content[name] for name in content}
    except SnnhwError:
        raise
    except Exception as error:  # as above
        raise fault(error, str(path)) or DataError(
            "bad-data", f"not a readable .npz file: {type(error).__name__}: {error}", where=path.name
        ) from error
    if not found:
        raise DataError("bad-data", "the file holds no arrays", where=path.name)
    odd = [name for name, array in found.items() if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub"]
    if odd:
        raise DataError("bad-data", "a part of the file is no array of numbers", where=f"{path.name}: {odd[0]}")
    return found
