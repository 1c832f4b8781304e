"""`python -m tests.attack.faults`: every command that writes, under every fault that a machine can have.

Full disks (RLIMIT_FSIZE at many sizes), failing system calls (ENOSPC, EIO, EROFS), little memory, few files, folders
that may not be written. Each ends with exit code 1 and one message, the old output as it was, nothing
left behind; or, where the fault came too late to matter, with 0 and the whole output.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

import argparse
import errno
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from snnhw.cli import main as snnhw
from tests.attack.kills import INPUTS, LINES, emptied, hashes, prepared, seconds_of

Fault = Callable[[], object]
NOBODY = 65534


def limited(kind: int, value: int) -> Fault:
    return lambda: resource.setrlimit(kind, (value, value))


def little_memory(more: int) -> Fault:
    def apply() -> None:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))

    return apply


def failing(name: str, number: int, code: int) -> Fault:
    """The N-th and all later calls of a system call fail."""

    def apply() -> None:
        real, left = getattr(os, name), [number]

        def call(*words: Any, **given: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(code, os.strerror(code))
            return real(*words, **given)

        setattr(os, name, call)

    return apply


def forbidden() -> None:
    """The folder may be read, not written; root has no such limits, so it becomes nobody."""
    Path().chmod(0o555)
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


FAULTS: dict[str, Fault] = {
    **{f"disk of {size} bytes": limited(resource.RLIMIT_FSIZE, size) for size in (0, 1, 100, 1000, 3000, 10_000)},
    **{f"{more >> 20} MB more": little_memory(more) for more in (8 << 20, 64 << 20)},
    **{f"{files} files": limited(resource.RLIMIT_NOFILE, files) for files in (8, 10, 12)},
    **{f"fsync {n} {errno.errorcode[c]}": failing("fsync", n, c) for n in (0, 1) for c in (errno.EIO, errno.ENOSPC)},
    **{f"replace {errno.errorcode[c]}": failing("replace", 0, c) for c in (errno.EIO, errno.EROFS, errno.ENOSPC)},
    "a folder that may not be written": forbidden,
}


def tried(words: list[str], fault: Fault) -> tuple[int, str]:
    """(exit code, what it said on stderr): through a pipe, which no limit on files touches."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = _Said(write)  # type: ignore[assignment]
        code = 99
        try:
            fault()
            snnhw(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001 - what a user would see
            sys.stderr.write("".join(traceback.format_exception(error)))
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


class _Said:
    """Standard error as an open file."""

    def __init__(self, file: int) -> None:
        self.file, self.encoding, self.errors = file, "utf-8", "replace"

    def write(self, text: str) -> int:
        os.write(self.file, text.encode())
        return len(text)

    def flush(self) -> None:
        """Nothing is held."""

    def isatty(self) -> bool:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.attack.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(LINES), choices=list(LINES))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    root, place = Path(tempfile.mkdtemp(prefix="snnhw-faults-")), Path(tempfile.mkdtemp(prefix="snnhw-said-"))
    before, total = os.getcwd(), Counter[str]()
    os.environ["XDG_STATE_HOME"] = str(place / "state")
    try:
        os.chdir(root)
        root.chmod(0o755)
        prepared(root)
        for name in asked.only:
            words = [word for word in LINES[name] if word != "--resume"]
            words = ["2" if word == "30" else word for word in words]
            seconds_of(words)
            outputs = [path for path in hashes(root) if path not in INPUTS]
            for what, fault in FAULTS.items():
                for path in outputs:
                    (root / path).write_bytes(b"old")
                was = hashes(root)
                code, said = tried(words, fault)
                root.chmod(0o755)
                odd = _odd(code, said, was, hashes(root), outputs)
                total["refused" if code == 1 else "done"] += not odd
                if odd:
                    total["FAULTS"] += 1
                    print(f"{name}, {what}: {odd}\n{said}", flush=True)
            emptied(root)
    finally:
        os.chdir(before)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
    print(f"{total.total()} faults injected: " + ", ".join(f"{count} {what}" for what, count in total.items()))
    sys.exit(total["FAULTS"] > 0)


def _odd(code: int, said: str, was: dict[str, str], found: dict[str, str], outputs: list[str]) -> str:
    """What is wrong with how a command ended; nothing if nothing is."""
    if code not in (0, 1):
        return f"exit code {code}"
    if set(found) != set(was):
        return f"left {set(found) ^ set(was)}"
    if code == 1 and found != was and not said.count("epoch"):
        return "refused, and an output was changed"
    if code == 1 and said.count("error: ") != 1:
        return "not one message"
    if "Traceback" in said or "Warning: " in said:
        return "a traceback or warning"
    return "an output was not written" if code == 0 and any(found[path] == was[path] for path in outputs) else ""


if __name__ == "__main__":
    main()
