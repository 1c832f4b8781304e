"""Fashion-MNIST (Zalando Research, MIT licence) from a local folder or the Debian package."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnhw.errors import SnnhwError

PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
ENVIRONMENT = "SNNHW_FASHION_MNIST"
STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MD5 = {
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
}
"""md5 of the decompressed files as released."""

MAX_IDX = 1 << 28
"""Bytes of a file, unpacked; the largest as released has 47 MB."""

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_idx(path: Path, md5: str | None = None) -> NDArray[np.uint8]:
    """The uint8 array of an idx or idx.gz file; refuses other types, sizes and, with ``md5``, bytes."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = packed.read(MAX_IDX + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise _bad(path, f"damaged gzip ({error})", "a whole gzip file") from error
    if len(raw) > MAX_IDX:
        raise _bad(path, f"more than {MAX_IDX} bytes", f"{MAX_IDX} bytes")
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise _bad(path, f"starts with {raw[:4].hex() or 'nothing'}", "idx header 000008 (unsigned bytes)")
    dims = raw[3]
    start = 4 + 4 * dims
    shape = struct.unpack(f">{dims}I", raw[4:start]) if len(raw) >= start else ()
    size = math.prod(shape)
    if not 0 < dims <= 4 or not shape or len(raw) - start != size:
        raise _bad(path, f"{len(raw)} bytes for shape {shape[:5]}", f"{start + size} bytes, 1 to 4 axes")
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise _bad(path, f"md5 {found}", f"md5 {md5}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def folder_of(folder: str | Path | None = None) -> Path:
    """The first of: folder given, $SNNHW_FASHION_MNIST, the Debian package; what is set must exist."""
    for chosen in (folder, os.environ.get(ENVIRONMENT)):
        if chosen:
            if not Path(chosen).is_dir():
                raise _missing(Path(chosen), "the folder does not exist")
            return Path(chosen)
    if not PACKAGE_FOLDER.is_dir():
        raise _missing(PACKAGE_FOLDER, "the folder does not exist")
    return PACKAGE_FOLDER


def load_fashion_mnist(split: str, folder: str | Path | None = None, *, verify: bool = True) -> Arrays:
    """Images uint8 ``[n, 1, 28, 28]``, labels int64 ``[n]`` of ``train`` (60,000) or ``test`` (10,000)."""
    if split not in STEMS:
        raise SnnhwError(
            "unknown-split",
            "no split of that name",
            where="split",
            needed=repr(split),
            limit="train, test",
            hint="pick one of these",
        )
    root = folder_of(folder)
    images, labels = (read_idx(_find(root, stem), MD5[stem] if verify else None) for stem in STEMS[split])
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise _bad(root, f"images {images.shape}, labels {labels.shape}", "images [n, h, w] and labels [n]")
    return images[:, None], labels.astype(np.int64)


def first_per_class(x: NDArray[np.uint8], y: NDArray[np.int64], samples: int) -> Arrays:
    """The first ``samples / classes`` images of each class (low classes get the rest), in file order."""
    classes = np.unique(y)
    each = [samples // len(classes) + (i < samples % len(classes)) for i in range(len(classes))]
    picked = [np.flatnonzero(y == c)[:n] for c, n in zip(classes, each, strict=True)]
    short = [int(c) for c, n, p in zip(classes, each, picked, strict=True) if len(p) < n]
    if samples < 1 or short:
        raise SnnhwError(
            "too-many-samples",
            "a class-balanced subset of that size cannot be taken",
            where="samples",
            needed=samples,
            limit=f"1 to {len(classes) * int(np.bincount(y)[classes].min())}",
            hint="ask for fewer samples",
        )
    order = np.sort(np.concatenate(picked))
    return x[order], y[order]


def _find(root: Path, stem: str) -> Path:
    for name in (stem, stem + ".gz", stem.replace("-idx", ".idx"), stem.replace("-idx", ".idx") + ".gz"):
        if (root / name).is_file():
            return root / name
    raise _missing(root / (stem + ".gz"), "the file is not there")


def _missing(path: Path, what: str) -> SnnhwError:
    return SnnhwError(
        "dataset-missing",
        f"Fashion-MNIST cannot be read: {what}",
        where=str(path),
        needed="the four idx files of Fashion-MNIST, plain or .gz",
        limit=f"searched in order: folder given, ${ENVIRONMENT}, {PACKAGE_FOLDER}",
        hint=f"apt-get install dataset-fashion-mnist, or set {ENVIRONMENT} to a folder that has them",
    )


def _bad(path: Path, found: str, limit: str) -> SnnhwError:
    return SnnhwError(
        "dataset-damaged",
        "a data file is not what it should be",
        where=str(path),
        needed=found,
        limit=limit,
        hint="fetch the file again, or point to the original release",
    )
