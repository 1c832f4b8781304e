"""Reading a torch file without executing anything in it."""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from snnhw.errors import SnnhwError, SourceError
from snnhw.limits import require_small

HOLDS = "a torch file of tensors, plain containers and argparse.Namespace"


def read_restricted(path: Path) -> dict[Any, Any]:
    """The dictionary in a torch file, zip or the older pickle format; tensors come to the CPU whatever made them.

    Raises:
        SourceError: the file asks for code (it is named, and was not run), is damaged, or holds no dictionary.
    """
    try:
        require_small(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # other pickle protocols: what cannot be read raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except SnnhwError:
        raise
    except Exception as error:  # torch raises many kinds; all mean the same to the user
        raise _refusal(path, error) from error
    if not isinstance(content, dict):
        raise SourceError(
            "bad-checkpoint",
            "the checkpoint holds no dictionary",
            where=path.name,
            needed=type(content).__name__,
            limit=HOLDS,
            hint="save a state_dict: torch.save(model.state_dict(), PATH)",
        )
    return content


def _refusal(path: Path, error: Exception) -> SourceError:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked is None:
        return SourceError(
            "bad-checkpoint",
            "the checkpoint cannot be read",
            where=path.name,
            needed=type(error).__name__,
            limit=HOLDS,
            hint="the file is damaged, or no torch file",
        )
    return SourceError(
        "unsafe-checkpoint",
        "the file asks for code, which is never run",
        where=path.name,
        needed=asked[1],
        limit=HOLDS,
        hint="where the file was made, save the numbers alone: torch.save(model.state_dict(), PATH)",
    )
