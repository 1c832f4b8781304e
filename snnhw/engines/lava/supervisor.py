"""Starts the worker in a session of its own, watches it, and ends its whole process group in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from snnhw.engines.lava.report import ERROR_FILE
from snnhw.errors import EngineError

LOG_FILE = "log.txt"
GRACE = 10.0
"""Seconds the worker gets to end and reap its children before the group is killed."""

GONE = 2.0
"""Seconds that killed Lava processes have to be gone; where nobody reaps orphans they stay, as zombies."""

ERROR_LINES = 12
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Worker:
    """One running worker."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], timeout: float) -> None:
        self.folder, self.process = folder, process
        self.timeout, self.deadline = timeout, time.monotonic() + timeout

    def check(self) -> None:
        """Raise EngineError when the worker has failed, gone, or run out of time."""
        error = self.folder / ERROR_FILE
        if error.exists():
            raise _failed("a Lava process failed", error.read_text(encoding="utf-8"))
        if _has_exited(self.process.pid):
            raise _failed("the Lava worker ended before the run did", _log(self.folder))
        if time.monotonic() > self.deadline:
            raise EngineError(
                "lava-timeout",
                "Lava did not finish in time",
                needed="more time, or it hangs",
                limit=f"{self.timeout:.0f} s",
                hint="give a larger timeout, fewer samples, or connections='sparse'",
            )


@contextmanager
def worker(folder: Path, timeout: float, extra: Mapping[str, str]) -> Iterator[Worker]:
    """A worker on the job in `folder`; at the end, however it comes, nothing of it is left."""
    command = [sys.executable, "-m", "snnhw.engines.lava.worker", str(folder)]
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path, **extra}
    with (folder / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Worker(folder, process, timeout)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()  # the leash: the worker ends and reaps its children
    waited = time.monotonic() + GRACE
    while not _has_exited(process.pid) and time.monotonic() < waited:
        time.sleep(0.01)
    # the worker is not yet reaped, so its group id cannot belong to anybody else
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    waited = time.monotonic() + GONE
    with suppress(ProcessLookupError):  # the group is empty
        while time.monotonic() < waited:
            os.killpg(process.pid, 0)
            time.sleep(0.01)


def _has_exited(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _log(folder: Path) -> str:
    return (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")


def _failed(message: str, text: str) -> EngineError:
    lines = [line for line in text.splitlines() if line.strip()]
    first, rest = (lines[0] if lines else "no output"), lines[1:]
    return EngineError("lava-failed", f"{message}: {first}", needed="\n".join(rest[-ERROR_LINES:]) or None)
