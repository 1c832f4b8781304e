"""Functions compiled by numba and kept on disk, beside their file or in the user's cache folder.

Where numba can write to neither, every process compiles them again, which takes seconds.
"""

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
