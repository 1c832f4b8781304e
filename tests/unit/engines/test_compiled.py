"""Compiled functions need no place on disk."""

from __future__ import annotations

from typing import Any

import pytest

from snnhw.engines import compiled


def test_without_a_cache_they_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    def njit(**options: Any) -> Any:
        said.append(options)
        if "cache" in options:
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", njit)
    assert compiled.compiled(boundscheck=True)(len)([1, 2]) == 2
    assert said[-1] == {"nogil": True, "boundscheck": True}


def test_other_errors_of_numba_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(**options: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(compiled, "njit", njit)
    with pytest.raises(RuntimeError, match="something else"):
        compiled.compiled()(len)
