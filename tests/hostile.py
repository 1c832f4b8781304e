"""Runs command lines on hostile files, each in a process of its own with a limit on memory and time.

`python -m tests.hostile CASES.json RESULTS.json`: name -> words in, name -> {code, out, err, seconds, megabytes} out.
The processes are forked from one that has run the command lines under "here" first, so that everything is imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import h5py  # noqa: F401
import onnx  # noqa: F401
import torch

import snnhw.api  # noqa: F401
from snnhw.cli import main

MEMORY = 4 << 30
"""Bytes of address space that a case may have beyond those that are there when it begins."""

SECONDS = 40
NOBODY = 65534
SWITCH = "--as-nobody"
"""First word of a case that runs without the rights of root, whom no permission stops."""


def run(words: list[str], place: Path) -> dict[str, Any]:
    """What one command line came to."""
    begin, before = time.monotonic(), _resident()
    pid = os.fork()
    if pid == 0:
        _child(words, place)
    _, status, usage = os.wait4(pid, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": place.with_suffix(".out").read_text(encoding="utf-8"),
        "err": place.with_suffix(".err").read_text(encoding="utf-8"),
        "seconds": time.monotonic() - begin,
        "megabytes": usage.ru_maxrss / 1024 - before,
    }


def _child(words: list[str], place: Path) -> None:
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(place.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.alarm(SECONDS)
    code = 99
    try:
        if words[0] == SWITCH:
            words = words[1:]
            if os.geteuid() == 0:
                os.setegid(NOBODY)
                os.seteuid(NOBODY)
        main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except Exception:  # noqa: BLE001  # what a user would see
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _here(words: list[str]) -> dict[str, Any]:
    """In this process."""
    out, err, code = io.StringIO(), io.StringIO(), 99
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def _resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize() / (1 << 20)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    first = {name: _here(words) for name, words in cases.pop("here").items()}
    folder = Path(sys.argv[2]).parent
    found = {name: run(words, folder / f"case{i}") for i, (name, words) in enumerate(cases.items())}
    Path(sys.argv[2]).write_text(json.dumps({**first, **found}), encoding="utf-8")
