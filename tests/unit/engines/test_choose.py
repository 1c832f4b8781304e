"""Engines by name."""

from __future__ import annotations

import pytest

from snnhw.engines.choose import INTEGER_ENGINES, integer_engine
from snnhw.errors import EngineError


@pytest.mark.parametrize("name", INTEGER_ENGINES)
def test_engine_has_its_name(name: str) -> None:
    assert integer_engine(name).name == name


def test_unknown_engine() -> None:
    with pytest.raises(EngineError) as caught:
        integer_engine("quick")
    first, last = str(caught.value).splitlines()
    assert first == "unknown-engine: no engine named 'quick'"
    assert last.startswith("  limit: fast, reference, lava, onnx")
