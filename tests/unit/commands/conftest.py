"""Compiled once for all tests of the command line."""

from __future__ import annotations

import pytest

from tests.unit.commands.line import Room, furnished


@pytest.fixture(scope="session")
def stbp(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return furnished(tmp_path_factory.mktemp("stbp"), "stbp_scnn")


@pytest.fixture(scope="session")
def sew(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return furnished(tmp_path_factory.mktemp("sew"), "sew_resnet")
