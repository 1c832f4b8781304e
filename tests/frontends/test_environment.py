"""The environment is the one that matrix.toml says."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path

from tests.frontends.environments import NEVER, OVERLAYS, VARIABLE, matrix

NAME = os.environ[VARIABLE]


def test_versions_are_those_of_the_matrix() -> None:
    for package in matrix()[NAME]["packages"]:
        name, version = package.split("==")
        assert importlib.metadata.version(name) == version


def test_the_framework_comes_from_the_overlay() -> None:
    module = importlib.import_module(matrix()[NAME]["package"])
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(OVERLAYS / NAME)


def test_nothing_that_installs_on_import_is_there() -> None:
    assert importlib.util.find_spec(NEVER) is None
