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


def examples() -> dict[str, tuple[Path, str]]:
    """Name of every shipped network and data file, its path, and what it is (the table of examples/README.md).

    A name is the file's without its ending where that is enough.
    """
    folder = shipped_folder("examples")
    endings = (".pt", ".npz", ".onnx")  # of one stem the checkpoint is meant
    found = (path for path in folder.iterdir() if path.suffix in endings)
    paths = sorted(found, key=lambda path: (path.stem, endings.index(path.suffix)))
    stems = [path.stem for path in paths]
    said: dict[str, str] = {}
    for row in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) == 4:
            said |= dict.fromkeys(re.findall("`([^`]*)`", cells[1]), cells[2].replace("`", "").replace("**", ""))
    return {(path.name if stems.count(path.stem) > 1 else path.stem): (path, said.get(path.name, "")) for path in paths}


def example(name: str) -> Path:
    """The path of a shipped network or data file, by its name with or without its ending.

    Raises:
        SourceError: 'unknown-example'; `snnhw examples` lists them.
    """
    known = examples()
    for path, _ in known.values():
        if name in (path.name, path.stem):
            return path
    raise SourceError(
        "unknown-example",
        "no network or data file of that name ships with snnhw",
        needed=name,
        limit=", ".join(known),
        hint=nearest(name, known) or "snnhw examples lists them",
    )


def resolved(name: str) -> Path:
    """The path of `example:NAME`; of anything else the path itself."""
    return example(name.removeprefix("example:")) if name.startswith("example:") else Path(name)
