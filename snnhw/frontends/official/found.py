"""What a reader of a published layout makes of a checkpoint's keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from snnhw.semantics import Deployment


def _as_it_is(key: str) -> str:
    return key


def _nothing(module: nn.Module) -> None:
    pass


@dataclass(frozen=True)
class Found:
    """A network of the zoo that the weights belong to.

    Args:
        architecture: its name for people, in `source` of the artifact.
        kind: the zoo's name.
        config: the zoo's arguments.
        deployment: T, encoding, input shape, readout.
        file_key: our key -> the file's (its wrappers undone).
        constants: weights by the file's keys that no file holds: they are constants of the code.
        adjust: what the arguments cannot say, done to the module before its weights are loaded.
    """

    architecture: str
    kind: str
    config: dict[str, Any]
    deployment: Deployment
    file_key: Callable[[str], str] = _as_it_is
    adjust: Callable[[nn.Module], None] = _nothing
    constants: Mapping[str, Tensor] = field(default_factory=dict)
