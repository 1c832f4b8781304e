"""The state dict in a published checkpoint, brought to one naming: wrappers, DDP prefix, old containers, aliases."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.errors import SourceError

PLACES = ("model", "net", "state_dict", "model_state_dict")
"""Where training scripts put the weights, in the order we look."""

_ALIAS = (
    (re.compile(r"^(.*)conv(\d+)_s\.bn\."), r"\1bn\2."),
    (re.compile(r"^(.*)_s\.layer\."), r"\1."),
)
"""STBP-simple's `tdLayer` holds a layer and its tdBN a second time: `conv1_s.layer.weight` is `conv1.weight`."""


_PLAIN = (str, int, float)
"""Types of arguments that are read: containers can be larger written out than any memory holds."""


@dataclass(frozen=True)
class Keys:
    """Weights with their keys in one naming.

    Args:
        state: key -> tensor.
        place: where in the file they were; '' for the file itself.
        layout: what was undone: 'DDP prefix', 'old containers', 'tdBN aliases'.
    """

    state: dict[str, Tensor]
    place: str
    layout: tuple[str, ...]

    def shape(self, key: str) -> tuple[int, ...]:
        """Of one weight; () where there is none."""
        return tuple(self.state[key].shape) if key in self.state else ()

    def has(self, *patterns: str) -> bool:
        """Whether each pattern (a regular expression from the start) matches some key."""
        return all(any(re.match(pattern, key) for key in self.state) for pattern in patterns)

    def count(self, pattern: str) -> int:
        """Distinct numbers that a pattern's one group finds."""
        return len({m[1] for key in self.state if (m := re.match(pattern, key))})


def find_keys(content: Mapping[Any, Any], where: str) -> Keys:
    """The weights of a file's content.

    Raises:
        SourceError: there are none, two keys become one, or a tensor is not a plain one.
    """
    place, found = weights_in(content, where)
    for key, value in found.items():
        _require_plain(key, value, where)
    state, layout = dict(found), []
    for name, rename in _RENAMINGS.items():
        if name == "DDP prefix" and not all(key.startswith("module.") for key in state):
            continue
        renamed = _merged(state, rename, where)
        if set(renamed) != set(state):
            layout.append(name)
            state = renamed
    return Keys(state, place, tuple(layout))


def args_of(content: Mapping[Any, Any]) -> dict[str, Any]:
    """The training script's arguments, if the file holds them."""
    args = content.get("args")
    held = vars(args) if isinstance(args, argparse.Namespace) else args if isinstance(args, Mapping) else {}
    return {str(key): value for key, value in held.items() if value is None or isinstance(value, _PLAIN)}


def weights_in(content: Mapping[Any, Any], where: str) -> tuple[str, Mapping[str, Tensor]]:
    """Where in a file the weights are, and the weights; raises SourceError where there are none."""
    for place, found in (("", content), *((p, content.get(p)) for p in PLACES)):
        if isinstance(found, Mapping) and found and all(_is_weight(*item) for item in found.items()):
            return place, found
    raise SourceError(
        "no-weights",
        "the file holds no state dict",
        where=where,
        needed="a dictionary of tensors, or one under " + ", ".join(map(repr, PLACES)),
        limit="holds " + (", ".join(repr(key) for key in list(content)[:6]) or "nothing"),
        hint="save the weights: torch.save(model.state_dict(), PATH)",
    )


def _is_weight(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _require_plain(key: str, value: Tensor, where: str) -> None:
    """Dense real numbers that lie in the file one by one: a view can claim more than any memory holds."""
    plain = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
    plain = plain and not (value.is_quantized or value.is_complex() or value.is_meta)
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise SourceError(
            "bad-checkpoint",
            "a weight is no plain tensor",
            where=f"{where}: {key}",
            needed=f"{value.dtype}, {value.layout}, shape {tuple(value.shape)}",
            limit="dense real numbers, each stored once",
        )


def _merged(state: Mapping[str, Tensor], rename: Callable[[str], str], where: str) -> dict[str, Tensor]:
    """Renamed; where two keys become one they must hold the same numbers."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = rename(key)
        if name in found and not _same(found[name], value):
            raise SourceError(
                "aliases-differ",
                "two keys name one weight and hold different numbers",
                where=f"{where}: {key}",
                needed=f"the numbers of {name}",
                hint="the file is damaged, or merged from two networks",
            )
        found[name] = value
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _without_ddp(key: str) -> str:
    return key.removeprefix("module.")


def _without_containers(key: str) -> str:
    return key.replace(".module.", ".")


def _without_aliases(key: str) -> str:
    for pattern, new in _ALIAS:
        key = pattern.sub(new, key)
    return key


_RENAMINGS: dict[str, Callable[[str], str]] = {
    "DDP prefix": _without_ddp,
    "old containers": _without_containers,
    "tdBN aliases": _without_aliases,
}
