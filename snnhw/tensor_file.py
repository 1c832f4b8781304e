"""Tensors as .safetensors: names and numbers, no code. What else a checkpoint of ours says stands in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from snnhw.extras import require

SUFFIX = ".safetensors"
_SAID, _MODEL, _OTHERS = "snnhw", "model", "snnhw."
"""Key of the metadata; the content whose tensors keep their own names; what stands before the names of all others."""


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content as it was written, or, of any other file, its tensors by name.

    Raises:
        SnnhwError: 'needs-extra'; for a damaged file whatever safetensors and json raise.
    """
    require("safetensors", f"reading {SUFFIX} files")
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = (file.metadata() or {}).get(_SAID)
    if said is None:
        return tensors
    content: dict[str, Any] = json.loads(said)
    for name, tensor in tensors.items():
        group, _, own = name.removeprefix(_OTHERS).partition(".") if name.startswith(_OTHERS) else (_MODEL, "", name)
        content.setdefault(group, {})[own] = tensor
    return content


def saved(content: Mapping[str, Any]) -> bytes:
    """The file's bytes, the same for the same content; tensors of `model` keep their own names, for other readers."""
    require("safetensors", f"writing {SUFFIX} files")
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and any(isinstance(held, Tensor) for held in value.values()):
            before = "" if key == _MODEL else f"{_OTHERS}{key}."
            tensors |= {before + name: held.contiguous() for name, held in value.items()}
        else:
            plain[key] = value
    return bytes(save(tensors, {_SAID: json.dumps(plain, sort_keys=True)}))
