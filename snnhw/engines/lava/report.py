"""How a process model tells the parent what happened: an exception inside one hangs Lava in silence otherwise.

The job folder is passed by environment variable, because stock Lava processes take no arguments of ours and all
process models are forked from the worker.
"""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "SNNHW_LAVA_FOLDER"
FAULT = "SNNHW_LAVA_FAULT"
"""Development hook: 'raise:NAME', 'hang:NAME' or 'die:NAME' makes a process fail in its second step, 'start:NAME' at
its start."""

ERROR_FILE = "error.txt"


def write_error(folder: Path, text: str) -> None:
    """Leave an error for the parent; the first one wins, and a reader never sees half of it."""
    draft = folder / f"error.{os.getpid()}.tmp"
    draft.write_text(text, encoding="utf-8")
    with suppress(FileExistsError):  # what follows from the first error is not news
        os.link(draft, folder / ERROR_FILE)
    draft.unlink()


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Wrap `__init__(model, proc_params)` or `run_spk(model)` of a process model: what it raises reaches the parent."""

    @functools.wraps(method)
    def checked(model: Any, *proc_params: Any) -> None:
        name = str((proc_params[0] if proc_params else model.proc_params)["name"])
        when = "start" if proc_params else f"step {model.time_step - 1}"
        try:
            _inject(name, when)
            method(model, *proc_params)
        except Exception as error:
            where = f"process {name} ({type(model).__name__}), {when}"
            text = f"{where}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
            write_error(Path(os.environ[FOLDER]), text)
            raise

    return checked


def _inject(name: str, when: str) -> None:
    fault, _, where = os.environ.get(FAULT, "").partition(":")
    if where != name or when != ("start" if fault == "start" else "step 1"):
        return
    match fault:
        case "raise" | "start":
            raise RuntimeError("injected failure")
        case "hang":
            time.sleep(3600)
        case "die":
            os._exit(9)
