"""Targets for tests: a shipped file with some values changed."""

from __future__ import annotations

from typing import Any

from snnhw.machine import Machine, load_target


def toy(base: str = "loihi1", **values: Any) -> Machine:
    """`base` with other values, e.g. toy(core__neurons=4, chip__mesh=[1, 1])."""
    changed = load_target(base).changed({name.replace("__", "."): value for name, value in values.items()})
    return changed.model_copy(update={"name": "toy"})


def one_core(**values: Any) -> Machine:
    """A chip of a single core."""
    shape: dict[str, Any] = {
        "chip__chips": 1, "chip__cores": 1, "chip__cores_usable": 1, "chip__cores_per_tile": 1, "chip__mesh": [1, 1]
    }  # fmt: skip
    return toy(**(shape | values))
