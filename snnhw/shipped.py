"""Files that come with snnhw: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from snnhw.errors import SourceError


def shipped_folder(name: str) -> Path:
    """`targets` or `examples`: the copy inside the installed package first, else the checkout's."""
    inside = Path(str(resources.files("snnhw"))) / name
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / name


def example(name: str) -> Path:
    """A shipped example file; raises SourceError when the installation lacks it."""
    path = shipped_folder("examples") / name
    if not path.is_file():
        raise SourceError(
            "no-example", "a file that ships with snnhw is missing", where=str(path), hint="install snnhw again"
        )
    return path
