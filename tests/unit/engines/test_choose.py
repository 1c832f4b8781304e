"""Engines by name."""

from __future__ import annotations

import pytest

from snnhw.engines.choose import ENGINES, integer_engine
from snnhw.errors import EngineError


@pytest.mark.parametrize("name", ENGINES)
def test_engine_has_its_name(name: str) -> None:
    assert integer_engine(name).name == name


def test_unknown_engine() -> None:
    with pytest.raises(EngineError) as caught:
        integer_engine("quick")
    first, last = str(caught.value).splitlines()
    assert first == "unknown-engine: no engine named 'quick'"
    assert last == "  limit: fast, reference, lava, onnx"


def test_float_is_no_engine_of_artifacts() -> None:
    with pytest.raises(EngineError) as caught:
        integer_engine("float")
    assert str(caught.value) == (
        "unknown-engine: the engine 'float' runs sources, not artifacts\n  limit: fast, reference, lava, onnx\n"
        "  hint: snnhw.run_float(source, x) runs the source"
    )
