"""Reading a torch file without executing anything in it."""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

from snnhw.errors import SnnhwError, SourceError
from snnhw.limits import fault
from snnhw.torch_file import read_torch

HOLDS = "a torch file of tensors, plain containers and argparse.Namespace"
UNSAFE = "unsafe-checkpoint"
"""Code of the refusal that `--trust-pickle` turns off."""


def read_restricted(path: Path) -> dict[Any, Any]:
    """The dictionary in a torch file, zip or the older pickle format; tensors come to the CPU whatever made them.

    Raises:
        SourceError: the file asks for code (it is named, and was not run), is damaged, or holds no dictionary.
    """
    try:
        _refuse_torchscript(path)
        content = read_torch(path, (argparse.Namespace,))
    except SnnhwError:
        raise
    except Exception as error:  # torch raises many kinds; all mean the same to the user
        raise fault(error, str(path)) or _refusal(path, error) from error
    return require_dictionary(content, path)


def require_dictionary(content: Any, path: Path) -> dict[Any, Any]:
    """Raises SourceError where a file holds something else."""
    if isinstance(content, dict):
        return content
    raise SourceError(
        "bad-checkpoint",
        "the checkpoint holds no dictionary",
        where=path.name,
        needed=type(content).__name__,
        limit=HOLDS,
        hint="save a state_dict: torch.save(model.state_dict(), PATH)",
    )


def unreadable(path: Path, error: Exception) -> SourceError:
    """The refusal of a file that torch cannot read."""
    return SourceError(
        "bad-checkpoint",
        f"the checkpoint cannot be read ({type(error).__name__})",
        where=path.name,
        needed=str(error) if isinstance(error, zipfile.BadZipFile) else None,
        limit=HOLDS,
        hint="the file is damaged, or no torch file",
    )


def _refusal(path: Path, error: Exception) -> SourceError:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked is None:
        return unreadable(path, error)
    return SourceError(
        "unsafe-checkpoint",
        "the file holds more than numbers: unpickling it would run code, and nothing was run",
        where=path.name,
        needed=asked[1],
        limit=HOLDS,
        hint="where the file was made, save the numbers alone: torch.save(model.state_dict(), PATH); or, if you "
        "trust whoever made it, --trust-pickle, which runs code from the file with all your rights",
    )


def _refuse_torchscript(path: Path) -> None:
    """An archive of torch.jit.save: a program, not weights; torch would load it without asking."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise SourceError(
                "torchscript",
                "the file is a TorchScript archive, a program and not a checkpoint",
                where=path.name,
                limit=HOLDS,
                hint="save the weights of the module it was made from: torch.save(model.state_dict(), PATH)",
            )
