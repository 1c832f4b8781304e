"""How much is held at once: of a file (what claims to hold more is refused before it is unpacked), and of a run."""

from __future__ import annotations

import errno
import resource
import sys
import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

from snnhw.errors import DataError, OutOfMemoryError, SnnhwError
from snnhw.extras import not_importable

MAX_BYTES = 4 << 30
"""Of a file, and of what it unpacks to."""

BOMB_BYTES, BOMB_RATIO = 256 << 20, 300
"""A zip that unpacks to more bytes than these, and to more times its own size, is taken for a bomb."""

ZIP_END, ZIP64 = 22, 0xFFFF
"""Bytes of a zip's end, and its number of entries where that is said elsewhere."""

MAX_SAMPLE = 1 << 28
"""Values (T x input shape) of one sample."""

FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53
"""Whole numbers below these are exact in a float, sums of them included."""

MAX_VALUES = 1 << 25
"""Values (samples x steps x neurons) of one population in memory at once; an engine holds several arrays of them."""


CHUNK = 32
"""Samples of a batch, where memory allows them."""


BYTES_PER_VALUE = 64
"""Memory for each value of the largest population in a batch: spikes, products and what they are made from, on both
sides of a comparison (measured: 24 in `run`, up to 60 in `compare`)."""


def held() -> int:
    """Bytes that this process has held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def samples_at_once(values: int, most: int, memory: int | None = None) -> int:
    """How many samples are run as one batch: at least one, at most `most`.

    Args:
        values: T x neurons of the largest population.
        memory: bytes that the process may hold, what it holds already included.

    Raises:
        OutOfMemoryError: not one sample fits.
    """
    fitting = MAX_VALUES // max(values, 1)
    if memory is not None:
        allowed = (memory - held()) // (BYTES_PER_VALUE * max(values, 1))
        fitting = min(fitting, allowed)
        if allowed < 1:
            raise OutOfMemoryError(
                "out-of-memory",
                "one sample does not fit into the memory that is allowed",
                where="--memory",
                needed=f"{held() + BYTES_PER_VALUE * values} bytes, {held()} of them held already",
                limit=f"{memory} bytes",
                hint="allow more memory, or run fewer steps (--steps)",
            )
    return max(1, min(most, fitting))


def is_file(path: str | Path) -> bool:
    """Whether there is a file that can be opened; raises SnnhwError 'cannot-read' where the system forbids to look."""
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb"):
            return True
    except (OSError, ValueError) as error:  # no rights, or a path that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise SnnhwError("cannot-read", f"the file cannot be read: {reason}", where=str(path)) from None


MAX_TEXT = 64 << 20
"""Bytes of a table or a JSON that a person gives."""


def bytes_of(path: Path) -> bytes:
    """A file of at most MAX_TEXT bytes; raises SnnhwError where there is none, it is a pipe, or it cannot be read."""
    if not is_file(path):
        raise DataError("no-such-file", "there is no such file", where=str(path))
    try:
        size = path.stat().st_size
        require_bytes(size, size, path.name, MAX_TEXT)
        return path.read_bytes()
    except OSError as error:
        raise fault(error, str(path)) or error from None


def fault(error: Exception, where: str) -> SnnhwError | None:
    """What the machine has against reading, as a refusal; None where it is the content that cannot be read.

    Readers of files raise many kinds of errors for damaged content: without this question, a full memory, a failing
    disk or a package that is missing would be called a damaged file.
    """
    if is_memory(error):
        return OutOfMemoryError(
            "out-of-memory",
            "there is not enough memory for this network and these samples",
            where=where or None,
            needed=str(error) or None,
            hint="give fewer samples (--samples) or fewer steps, or use a machine with more memory",
        )
    if isinstance(error, ImportError):
        return not_importable(error, where)
    # EINVAL, EFBIG and EOVERFLOW are places and sizes that damaged content names
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
        if error.errno == errno.ENOMEM:
            return fault(MemoryError(error.strerror), where)
        return SnnhwError("cannot-read", f"the file cannot be read: {error.strerror}", where=where)
    return None


def is_memory(error: Exception) -> bool:
    """Whether an error says that there is too little memory; torch has no class of its own for it."""
    return isinstance(error, MemoryError) or any(said in str(error) for said in _NO_MEMORY)


_NO_MEMORY = (
    "can't allocate memory",  # torch
    "could not create a primitive",  # oneDNN below it
    "memory allocation failed",  # HDF5
    "failed to map segment from shared object",  # the system's loader
)


def require_sample(steps: int, shape: Sequence[int], where: str) -> None:
    """Raises SnnhwError 'too-big' where one sample would have more values than are held in memory."""
    if steps * prod(shape) > MAX_SAMPLE:
        raise SnnhwError(
            "too-big",
            "one sample has too many values",
            where=where,
            needed=f"{steps} steps of {' x '.join(map(str, shape))} values",
            limit=f"{MAX_SAMPLE} values",
        )


def require_windows(
    shape: Sequence[int], kernel: Sequence[int], padding: Sequence[int], made: Sequence[int], where: str
) -> None:
    """Raises SnnhwError 'too-big' where a convolution or pool would have more values at once than are held in memory.

    Args:
        shape: of what it reads, (C, ...).
        made: pixels of what it makes, without channels; a window of the kernel is read for each.
    """
    padded = shape[0] * prod(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))
    if max(padded, shape[0] * prod(kernel) * prod(made)) > MAX_SAMPLE:
        raise SnnhwError(
            "too-big",
            "the windows of a convolution or pool hold too many values",
            where=where,
            needed=f"kernel {tuple(kernel)}, padding {tuple(padding)} on {' x '.join(map(str, shape))} values",
            limit=f"{MAX_SAMPLE} values",
        )


def require_small(path: str | Path, most: int | None = None) -> None:
    """Raises SnnhwError 'too-big' where a file, or what a zip says it unpacks to, has over `most` bytes (MAX_BYTES)."""
    path = Path(path)
    size = stored = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        _require_all(path, len(entries))
        size = max(size, sum(entry.file_size for entry in entries))
    require_bytes(size, stored, path.name, most)


def _require_all(path: Path, found: int) -> None:
    """Raises BadZipFile where a zip's directory has not as many entries as its end says: zipfile does not look, and a
    damaged length hides those behind it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - ZIP_END))
        end = file.read()
    at = end.rfind(b"PK\x05\x06") + 10
    said = int.from_bytes(end[at : at + 2], "little")
    if said not in (found, ZIP64):
        raise zipfile.BadZipFile(f"{found} of {said} entries are there")


def require_bytes(size: int, stored: int, where: str, most: int | None = None) -> None:
    """Raises SnnhwError 'too-big' where what a file becomes is more than `most` (MAX_BYTES), or far more than it has
    bytes."""
    most = MAX_BYTES if most is None else most
    bomb = most >= size > max(BOMB_BYTES, BOMB_RATIO * stored)
    if size > most or bomb:
        raise SnnhwError(
            "too-big",
            "the file unpacks to too much",
            where=where,
            needed=f"{size} bytes",
            limit=f"{BOMB_RATIO} times the file's {stored} bytes" if bomb else f"{most} bytes",
            hint="if it is what it says, write it without compression" if bomb or most < MAX_BYTES else None,
        )


def is_number(value: object) -> bool:
    """Whether a value is a number that a float can be; a whole number in a file has any length."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
