"""Targets for tests: a shipped file with some values changed."""

from __future__ import annotations

import re
from typing import Any

from snnhw.target import Target, load_target, parse_target


def toy(base: str = "loihi1", **values: Any) -> Target:
    """`base` with other values, e.g. toy(core__neurons=4, chip__mesh=[1, 1]); None removes the key."""
    text = load_target(base).text
    for name, value in values.items():
        section, key = name.split("__")
        head, found, tail = text.partition(f"[{section}]\n")
        assert found, section
        new = "" if value is None else rf"\g<1>{str(value).lower()}, unit"
        old = rf"^{key} = .*\n" if value is None else rf"^({key} = {{ value = ).*?, unit"
        tail, count = re.subn(old, new, tail, count=1, flags=re.MULTILINE)
        assert count == 1, name
        text = head + found + tail
    return parse_target("toy", text)


def one_core(**values: Any) -> Target:
    """A chip of a single core."""
    shape: dict[str, Any] = {
        "chip__chips": 1, "chip__cores": 1, "chip__cores_usable": 1, "chip__cores_per_tile": 1, "chip__mesh": [1, 1]
    }  # fmt: skip
    return toy(**(shape | values))
