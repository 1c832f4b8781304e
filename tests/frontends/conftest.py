"""Tests of one framework run in its environment (environments.py, matrix.toml); elsewhere they are not collected.

A run that names an environment and cannot import its framework fails: the tests import it at their top.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.frontends.environments import VARIABLE, matrix


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Only the test file of the environment that this run is in."""
    if not collection_path.name.startswith("test_"):
        return None
    name = os.environ.get(VARIABLE)
    return None if name and collection_path.name in [*matrix()[name]["tests"], "test_environment.py"] else True


def pytest_configure(config: pytest.Config) -> None:
    """Frameworks warn of their own and of torch's ways; that is not ours to fix."""
    name = os.environ.get(VARIABLE)
    if name:
        config.addinivalue_line("filterwarnings", "default")
