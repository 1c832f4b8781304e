"""The checkpoint file: tensors and plain containers only, so that a restricted unpickler reads it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnhw import files, tensor_file
from snnhw.errors import SnnhwError
from snnhw.limits import fault
from snnhw.torch_file import read_torch
from snnhw.zoo.datasets import Split
from snnhw.zoo.recipe import Recipe
from snnhw.zoo.registry import build

FORMAT, VERSION = "snnhw-checkpoint", 1


CALIBRATION = 128
"""Training samples kept in a checkpoint: with them a compiler chooses scales without asking for data."""
CALIBRATION_BYTES = 320 * 1024
"""Room for them; of large samples (event sequences) fewer are kept."""


def pack(recipe: Recipe, model: nn.Module, data: Split, seed: int, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The checkpoint of a model after ``len(history)`` epochs; metrics are those of the last one."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "recipe": recipe.name,
        "network": {"kind": recipe.kind, "config": dict(recipe.config)},
        "model": {key: value.detach().clone() for key, value in model.state_dict().items()},
        "deploy": {
            "steps": recipe.deployed,
            "encoding": recipe.encoding,
            "readout": recipe.readout,
            "input_shape": list(data.input_shape),
            "classes": data.classes,
            "preprocessing": "none" if data.sequence else "uint8/255",
        },
        "calibration": {"x": data.x_train[: _calibration_samples(data)].clone()},
        "seed": seed,
        "epoch": len(history),
        "metrics": {key: value for key, value in history[-1].items() if key != "health"} if history else {},
        "history": [dict(row) for row in history],
    }


def _calibration_samples(data: Split) -> int:
    return min(CALIBRATION, max(1, CALIBRATION_BYTES // max(1, data.x_train[0].nbytes)))


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write it whole or not at all (`files.write`)."""
    files.write({Path(path): saved(content, path)}, folders=True)


def saved(content: dict[str, Any], path: str | Path = "") -> bytes:
    """What torch.save (zip format) makes, in memory: torch raises errors of its own where a disk is full, and names
    the zip's folder after its file. A path that ends in .safetensors says that format."""
    if Path(path).suffix == tensor_file.SUFFIX:
        return tensor_file.saved(content)
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def read(path: str | Path) -> dict[str, Any]:
    """The checkpoint's content; refuses another format or version and anything but plain data."""
    content = read_plain(path)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        found = f"format {content.get('format')!r}, version {content.get('version')!r}"
        raise _refuse(path, found, f"format {FORMAT!r}, version {VERSION}")
    return content


def read_plain(path: str | Path) -> dict[str, Any]:
    """A dictionary of tensors and plain containers; nothing in the file is executed."""
    try:
        content = read_torch(path)
    except FileNotFoundError as error:
        raise SnnhwError("no-such-file", "there is no such file", where=str(path)) from error
    except SnnhwError:
        raise
    except Exception as error:  # torch raises many kinds; all mean the same to the user
        limit = "a torch zip file of tensors and plain containers"
        raise fault(error, str(path)) or _refuse(path, type(error).__name__, limit) from error
    if not isinstance(content, dict):
        raise _refuse(path, f"a {type(content).__name__}", f"format {FORMAT!r}, version {VERSION}")
    return content


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in eval mode with its weights, and the checkpoint's whole content."""
    content = read(path)
    model = build(content["network"]["kind"], content["network"]["config"])
    model.load_state_dict(content["model"])
    return model.eval(), content


def _refuse(path: str | Path, found: str, limit: str) -> SnnhwError:
    return SnnhwError(
        "bad-checkpoint",
        "the checkpoint cannot be read",
        where=str(path),
        needed=found,
        limit=limit,
        hint="train one with: snnhw train stbp_scnn -o model.pt",
    )
