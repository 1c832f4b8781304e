"""Functions compiled by numba and kept on disk, where numba finds a place to write; else compiled in every process."""

from __future__ import annotations

from typing import Any

from numba import njit


def compiled(**options: Any) -> Any:
    """As `numba.njit`, without the interpreter's lock."""

    def decorate(function: Any) -> Any:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return njit(nogil=True, **options)(function)

    return decorate
