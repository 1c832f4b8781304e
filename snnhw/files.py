"""Files appear whole or not at all: the one place that writes what a user keeps.

Beside an output stands, while a run claims or writes it, a locked file `.snnhw-KEY-RANDOM.tmp` (KEY: a hash of the
output's name). A killed run leaves it unlocked, and the next one that writes into the folder removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from snnhw.errors import DataError

Content = bytes | str | Callable[[IO[bytes]], object]
"""What a file shall hold: bytes, text (UTF-8), or a function that writes them into a file it is given."""

SPOOLED = 256 << 20
"""Bytes of one output that are held in memory before it is written; what is longer waits in the temporary folder."""

PATIENCE = 2.0
"""Seconds that a write waits for another one of the same output."""

_OURS = re.compile(r"\.snnhw-([0-9a-f]{16})-[0-9a-f]{16}\.tmp")
_claimed: set[str] = set()
"""Outputs that this process claims; inside a claim it writes as often as it likes."""


def write(contents: Mapping[Path, Content], *, folders: bool = False) -> None:
    """Write files: all are complete on the disk before the first takes its place. A link is written through.

    The mode of a file that is replaced is kept; a new one's is what the umask leaves.

    Args:
        folders: make those that are missing.

    Raises:
        DataError: 'cannot-write' (nothing was changed), or 'output-in-use'.
    """
    with claim(contents, PATIENCE, folders=folders), ExitStack() as drafts:
        complete = []
        for path, content in contents.items():
            with _refusing(path, OSError):
                place = os.path.realpath(path)
                folder, file, name = drafts.enter_context(_draft(path, place))
                _fill(file, place, content)
                complete.append((path, folder, name, os.path.basename(place)))
        for path, folder, name, final in complete:
            with _refusing(path, OSError):
                os.replace(name, final, src_dir_fd=folder, dst_dir_fd=folder)
                with suppress(OSError):  # file systems without it
                    os.fsync(folder)


@contextmanager
def claim(paths: Iterable[Path], patience: float = 0.0, *, folders: bool = False) -> Iterator[None]:
    """Hold outputs that will be written in the body, once or often; no other run can write them meanwhile.

    Call it before a long computation: what cannot be written is refused here.

    Args:
        patience: seconds to wait for another run that holds one of them.
        folders: make those that are missing.

    Raises:
        DataError: 'cannot-write' for what is no regular file, a folder that is missing or forbids it, a name that is
            too long; 'output-in-use'.
    """
    with ExitStack() as held:
        for path in paths:
            if folders:
                make_folder(path.parent)
            with _refusing(path, OSError, ValueError):
                place = _place(path)
                if place not in _claimed:
                    held.enter_context(_draft(path, place, time.monotonic() + patience))
                    _claimed.add(place)
                    held.callback(_claimed.discard, place)
        yield


def make_folder(path: Path) -> None:
    """A folder for outputs, its parents too; raises DataError 'cannot-write'."""
    with _refusing(path, OSError, ValueError):
        path.mkdir(parents=True, exist_ok=True)


def _place(path: Path) -> str:
    """Where the file itself is, links resolved; raises DataError, OSError or ValueError where none can be written."""
    place = os.path.realpath(path)
    if os.path.isdir(place) or not os.path.isdir(os.path.dirname(place)):
        what = "the output is a folder" if os.path.isdir(place) else "the output's folder does not exist"
        raise DataError("cannot-write", what, where=str(path), hint="give the path of a file in an existing folder")
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(place).st_mode):
            what = "the output is a device, a pipe or a socket, which a file would replace"
            raise DataError("cannot-write", what, where=str(path), hint="give the path of a file")
        if not os.access(place, os.W_OK):
            raise OSError(0, "the file that is there is read-only")
    return place


@contextmanager
def _draft(path: Path, place: str, alone: float | None = None) -> Iterator[tuple[int, int, str]]:
    """A new locked file beside an output: (its folder, itself, its name). It is gone afterwards, or was renamed.

    Args:
        alone: it must be the only one of this output; wait until then (monotonic) for others to go.
    """
    with _opened(os.path.dirname(place), os.O_DIRECTORY) as folder:
        _lock(folder, time.monotonic() + PATIENCE)  # nobody tidies between the file's making and its locking
        while alone is not None and _key(place) in _tidied(folder):
            if time.monotonic() >= alone:
                raise DataError(
                    "output-in-use",
                    "another run of snnhw is writing this output",
                    where=str(path),
                    hint="wait for it, or give another name",
                )
            fcntl.flock(folder, fcntl.LOCK_UN)
            time.sleep(0.02)
            _lock(folder, time.monotonic() + PATIENCE)
        name = f".snnhw-{_key(place)}-{secrets.token_hex(8)}.tmp"
        with _opened(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, folder) as file:
            _lock(file, time.monotonic() + PATIENCE)
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_UN)
            try:
                yield folder, file, name
            finally:
                with suppress(FileNotFoundError):  # it took the output's place
                    os.unlink(name, dir_fd=folder)


def _tidied(folder: int) -> set[str]:
    """Keys of the outputs that are being written in a folder; what killed runs left there is removed."""
    busy = set()
    for name in os.listdir(folder):
        ours = _OURS.fullmatch(name)
        with suppress(OSError):  # gone meanwhile, or another user's
            if ours and stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                with _opened(name, os.O_NONBLOCK, folder) as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    except BlockingIOError:
                        busy.add(ours[1])
                    else:
                        if os.fstat(file).st_uid == os.geteuid():
                            os.unlink(name, dir_fd=folder)
    return busy


def _fill(file: int, place: str, content: Content) -> None:
    with suppress(OSError):  # a new file, or a file system without modes
        os.fchmod(file, stat.S_IMODE(os.stat(place).st_mode))
    with SpooledTemporaryFile(max_size=SPOOLED) as made, os.fdopen(file, "wb", closefd=False) as out:
        if callable(content):
            content(made)
            made.seek(0)
            shutil.copyfileobj(made, out, 1 << 20)
        else:
            out.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        out.flush()
        os.fsync(file)


@contextmanager
def _opened(name: str, flags: int, folder: int | None = None) -> Iterator[int]:
    """A descriptor that follows no link at its end; a new file's mode is what the umask leaves."""
    file = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)


def _lock(file: int, until: float) -> None:
    """Lock it for this descriptor alone; a file system without locks does without."""
    with suppress(OSError):
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return None
                time.sleep(0.01)


def _key(place: str) -> str:
    return hashlib.sha256(os.path.basename(os.fsencode(place))).hexdigest()[:16]


@contextmanager
def _refusing(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """A refusal where the system does not let a file be written, or where no file can have that path."""
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("cannot-write", f"the output cannot be written: {reason}", where=str(path)) from None
