"""Files that come with snnhw: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from snnhw.errors import SourceError, nearest


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


def examples() -> dict[str, tuple[Path, str]]:
    """Name of every shipped network and data file, its path, and what it is (the table of examples/README.md).

    A name is the file's without its ending where that is enough.
    """
    folder = shipped_folder("examples")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".pt", ".npz", ".onnx"))
    stems = [path.stem for path in paths]
    said: dict[str, str] = {}
    for row in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) == 4:
            said |= dict.fromkeys(re.findall("`([^`]*)`", cells[1]), cells[2].replace("`", "").replace("**", ""))
    return {(path.name if stems.count(path.stem) > 1 else path.stem): (path, said.get(path.name, "")) for path in paths}


def resolved(name: str) -> Path:
    """The path of `example:NAME`, with or without its ending; of anything else the path itself."""
    if not name.startswith("example:"):
        return Path(name)
    short, known = name.removeprefix("example:"), examples()
    for path, _ in known.values():
        if short in (path.name, path.stem):
            return path
    raise SourceError(
        "unknown-example",
        "no network or data file of that name ships with snnhw",
        needed=short,
        limit=", ".join(known),
        hint=nearest(short, known) or "snnhw examples lists them",
    )
