"""Samples that are read slice by slice: of .npy and .npz files, folders of them, HDF5, zarr, folders of images.

Nothing is kept that was read: memory holds the samples of one batch, however large the data are.
"""

from __future__ import annotations

import math
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from snnhw.errors import DataError, SnnhwError
from snnhw.limits import MAX_BYTES, fault
from snnhw.network import Array, Shape

MAX_AXES = 32
"""Of an array, as of numpy's before 2.0."""

State = tuple[int, int, int]
"""Of a file: device, inode and time of its last change."""


@dataclass(frozen=True)
class Rows:
    """An array (samples, ...) whose slices `rows[a:b]` are read when they are asked for.

    Args:
        read: (first, last) -> samples [first, last).
        where: what an error names.
    """

    shape: Shape
    dtype: np.dtype[Any]
    read: Callable[[int, int], Array]
    where: str

    def __post_init__(self) -> None:
        """Raises DataError 'bad-shape' for what no array can be: a file may claim anything."""
        negative = any(n < 0 for n in self.shape)
        if negative or len(self.shape) > MAX_AXES or math.prod(max(n, 1) for n in self.shape) * 8 > sys.maxsize:
            raise DataError("bad-shape", "no array has this shape", where=self.where, limit=f"got {self.shape}")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Array:
        """Samples of a slice without a step, in memory; raises DataError where they are not finite numbers."""
        first, last, _ = part.indices(len(self))
        found = np.asarray(self._read(first, max(first, last)))
        require_finite(found, self.where)
        return found

    def _read(self, first: int, last: int) -> Array:
        """What lies in a file is damaged or gone only when it is read, long after it was opened."""
        try:
            return self.read(first, last)
        except SnnhwError:
            raise
        except Exception as error:  # readers raise many kinds
            what = f"the samples cannot be read: {type(error).__name__}: {error}"
            raise fault(error, self.where) or DataError("bad-data", what, where=self.where) from error

    def whole(self) -> Array:
        """All samples; raises SnnhwError 'too-big' where they are not for a memory."""
        size = math.prod(self.shape) * self.dtype.itemsize
        if size > MAX_BYTES:
            raise SnnhwError(
                "too-big",
                "the samples are too many to be held at once",
                where=self.where,
                needed=f"{size} bytes",
                limit=f"{MAX_BYTES} bytes",
                hint="give a part of them",
            )
        return self[:]

    def cut(self, first: int, last: int) -> Rows:
        """Some of the samples; nothing is read."""
        first, last, _ = slice(first, last).indices(len(self))
        shape = (max(last - first, 0), *self.shape[1:])
        return Rows(shape, self.dtype, lambda a, b: self.read(first + a, first + b), self.where)


def require_finite(x: Array, where: str) -> None:
    """Raises DataError 'bad-data' for NaN and infinity."""
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError(
            "bad-data", "samples hold values that are not finite", where=where, hint="remove NaN and infinity"
        )


def require_regular(path: Path) -> None:
    """Raises DataError 'bad-data' for a pipe, which would be waited for, a device or a folder."""
    if path.exists() and not path.is_file():
        raise DataError("bad-data", "a part of the data is no regular file", where=str(path))


def of_npy(path: Path, offset: int = 0, size: int | None = None) -> Rows:
    """An .npy file, or one that lies uncompressed inside another at `offset`, `size` bytes long."""
    require_regular(path)
    with path.open("rb") as file:
        file.seek(offset)
        shape, fortran, dtype = _header(file)
        start = file.tell()
        held = (path.stat().st_size if size is None else offset + size) - start
    if dtype.hasobject or (fortran and len(shape) > 1):
        how = "objects" if dtype.hasobject else "columns (Fortran order)"
        hint = "save it with numpy.save(path, numpy.ascontiguousarray(x))"
        raise DataError("bad-data", f"an array of {how} is not read in slices", where=path.name, hint=hint)
    each = math.prod(shape[1:]) * dtype.itemsize
    if not shape or held < shape[0] * each:
        raise DataError(
            "bad-data", "the file ends before its array does", where=path.name, needed=shape, limit=f"{held} bytes"
        )

    def read(first: int, last: int) -> Array:
        with path.open("rb") as file:
            file.seek(start + first * each)
            flat = np.fromfile(file, dtype, (last - first) * each // dtype.itemsize)
        return flat.reshape(last - first, *shape[1:])

    return Rows(shape, dtype, read, path.name)


def require_header(file: IO[bytes], size: int) -> None:
    """Raises ValueError where an .npy of `size` bytes claims more than it holds: numpy makes room for it first."""
    begin = file.read(len(np.lib.format.MAGIC_PREFIX))
    file.seek(0)
    if begin == np.lib.format.MAGIC_PREFIX:
        shape, _, dtype = _header(file)
        if math.prod(shape) * max(dtype.itemsize, 1) > size:
            raise ValueError(f"an array of shape {shape} and type {dtype} in {size} bytes")
        file.seek(0)


def _header(file: IO[bytes]) -> tuple[Shape, bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # numpy makes room for the header that the file claims
        length = int.from_bytes(file.read(4), "little")
        if length > 1 << 20:
            raise ValueError(f"a header of {length} bytes")
        file.seek(-4, 1)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)


def of_npz(path: Path, name: str) -> Rows:
    """One array of an .npz, read by slices where it is not compressed; where it is, the last that was read is kept."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as file:  # the name and the extra field are as long as the entry's own header says
                file.seek(entry.header_offset + 26)
                extra = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
            start = entry.header_offset + 30 + extra
            rows = of_npy(path, start, entry.file_size)

            def read(first: int, last: int) -> Array:
                _require_sound(path, _state(path), start, entry.file_size, entry.CRC)
                return rows.read(first, last)

            return replace(rows, read=read)
        with archive.open(entry) as content:
            require_header(content, entry.file_size)
        with archive.open(entry) as content:
            shape, _, dtype = _header(content)

    return Rows(shape, dtype, lambda first, last: _unpacked(path, name, _state(path))[first:last], path.name)


def _state(path: Path) -> State:
    """Tells whether a file is still the one that was looked at."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=1 << 16)
def _require_sound(path: Path, state: State, start: int, size: int, crc: int) -> None:
    """Raises BadZipFile where bytes of a file are not those that its zip's CRC was made of; each is read once more."""
    found = 0
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (piece := file.read(min(size, 1 << 20))):
            found, size = zlib.crc32(piece, found), size - len(piece)
    if found != crc:
        raise zipfile.BadZipFile(f"bad CRC-32 of {path.name}")


@lru_cache(maxsize=1)
def _unpacked(path: Path, name: str, state: State) -> Array:
    with np.load(path, allow_pickle=False) as content:
        return np.asarray(content[name])


def of_array(array: Any, where: str) -> Rows:
    """Anything with `shape`, `dtype` and slices: a dataset of HDF5, an array of zarr."""
    if getattr(array, "shape", None) is None:  # a group, or a dataset of nothing
        raise DataError("bad-data", "a part of the file is no array", where=where)
    return Rows(tuple(array.shape), np.dtype(array.dtype), lambda first, last: np.asarray(array[first:last]), where)


def joined(parts: Sequence[Rows], where: str) -> Rows:
    """One behind the other; raises DataError where their samples differ in shape or type."""
    if not parts:
        raise DataError("no-samples", "the folder holds no samples", where=where, limit="x*.npy")
    first = parts[0]
    for part in parts:
        if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                "bad-shape",
                "the parts of the data do not fit together",
                where=f"{where}: {part.where}",
                needed=f"samples {first.shape[1:]} {first.dtype}",
                limit=f"got {part.shape[1:]} {part.dtype}",
            )
    ends = np.cumsum([0, *map(len, parts)])

    def read(a: int, b: int) -> Array:
        met = range(int(np.searchsorted(ends, a, "right")) - 1, int(np.searchsorted(ends, b)))
        found = [parts[i].read(max(a - ends[i], 0), min(b - ends[i], len(parts[i]))) for i in met]
        return np.concatenate(found) if found else np.zeros((0, *first.shape[1:]), first.dtype)

    return Rows((int(ends[-1]), *first.shape[1:]), first.dtype, read, where)
