"""DATA.npz: samples `x`, labels `y` if there are any. Read with limits, refused by name."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnhw import files
from snnhw.errors import DataError, SnnhwError
from snnhw.limits import fault, is_file, require_small
from snnhw.network import Array


@dataclass(frozen=True)
class Samples:
    """Samples (B, ...) as the user gives them; labels (B,), real values (B, ...), or None.

    Args:
        unread: other arrays of the file.
    """

    x: Array
    y: Array | None
    unread: tuple[str, ...] = ()

    def first(self, count: int | None) -> Samples:
        """The first `count` samples, or all."""
        if count is None:
            return self
        return replace(self, x=self.x[:count], y=None if self.y is None else self.y[:count])


def load_samples(path: str | Path) -> Samples:
    """Read `x` and, if present, `y`; raises DataError for anything that is not such a file.

    `x/NAME` of several inputs are joined in the order of their names.
    """
    path = Path(path)
    if not is_file(path):
        raise DataError("no-such-file", "there is no such file", where=str(path))
    try:
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
    with zipfile.ZipFile(path):  # numpy would read an .npy or a pickle as well
        return np.load(path, allow_pickle=False)


def _checked(found: dict[str, Array], names: list[str], where: str) -> Samples:
    odd = [name for name, array in found.items() if not isinstance(array, np.ndarray)]
    if odd:
        raise DataError("bad-data", "a part of the file is no array", where=f"{where}: {odd[0]}")
    unread = tuple(name for name in names if name not in found)
    if "x" not in found and len(found) > ("y" in found):
        found["x"] = _joined({name: x for name, x in sorted(found.items()) if name != "y"}, where)
    if "x" not in found:
        raise DataError(
            "bad-data",
            "the file holds no array named x",
            where=where,
            needed="x",
            limit=f"has {', '.join(names) or 'nothing'}",
        )
    x, y = found["x"], found.get("y")
    if x.dtype.kind not in "fiub":
        raise DataError("bad-data", f"samples of type {x.dtype} are not numbers", where=f"{where}: x")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError(
            "bad-data", "samples hold values that are not finite", where=f"{where}: x", hint="remove NaN and infinity"
        )
    if x.ndim < 2 or x.shape[0] == 0:
        raise DataError(
            "bad-shape", "there are no samples", where=f"{where}: x", needed="(samples, ...)", limit=f"got {x.shape}"
        )
    fits = y is None or (y.shape[:1] == x.shape[:1] and (y.dtype.kind == "f" or (y.ndim == 1 and y.dtype.kind in "iu")))
    if not fits:
        raise DataError(
            "bad-labels",
            "labels do not fit the samples",
            where=f"{where}: y",
            needed=f"({len(x)},) integers",
            limit=f"got {found['y'].shape} {found['y'].dtype}",
            hint="classes are integers (samples,); values of outputs are floats (samples, outputs...)",
        )
    return Samples(x, y, unread)


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
