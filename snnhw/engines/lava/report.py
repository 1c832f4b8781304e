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
from pathlib import Path
from typing import Any

FOLDER = "SNNHW_LAVA_FOLDER"
FAULT = "SNNHW_LAVA_FAULT"
"""Development hook: 'raise:NAME', 'hang:NAME' or 'die:NAME' injects a failure in the second step of a process."""

ERROR_FILE = "error.txt"


def write_error(folder: Path, text: str) -> None:
    """Leave an error for the parent; the first one wins, and a reader never sees half of it."""
    draft = folder / f"error.{os.getpid()}.tmp"
    draft.write_text(text, encoding="utf-8")
    try:
        os.link(draft, folder / ERROR_FILE)
    except FileExistsError:
        pass  # a consequence of the first error, not news
    draft.unlink()


def guarded(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap `run_spk` of a process model so that what it raises reaches the parent."""

    @functools.wraps(run)
    def checked(model: Any) -> None:
        try:
            _injected(model)
            run(model)
        except Exception as error:
            where = f"process {_name(model)} ({type(model).__name__}), step {model.time_step - 1}"
            text = f"{where}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
            write_error(Path(os.environ[FOLDER]), text)
            raise

    return checked


def _name(model: Any) -> str:
    return str(model.proc_params["name"])


def _injected(model: Any) -> None:
    fault, _, name = os.environ.get(FAULT, "").partition(":")
    if not fault or name != _name(model) or model.time_step != 2:
        return
    match fault:
        case "raise":
            raise RuntimeError("injected failure")
        case "hang":
            time.sleep(3600)
        case "die":
            os._exit(9)
