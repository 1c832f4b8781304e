"""The version: of the installed package, or of the checkout's pyproject.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def version() -> str:
    """E.g. '0.1.0'; a checkout that runs without being installed reads its own file."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        found = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if found.get("name") == "snnhw":
            return str(found["version"])
    return metadata.version("snnhw")


__version__ = version()
