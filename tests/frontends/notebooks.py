"""Tutorials that are notebooks, one a framework: run in its environment (environments.py).

`python -m tests.frontends.notebooks` runs that of the environment it is in, and writes what it shows into the page.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.frontends.environments import ROOT, VARIABLE

PAGES = {name: ROOT / f"docs/tutorial_{name}.ipynb" for name in ("snntorch", "spikingjelly", "norse", "sinabs")}
SECONDS = 300
"""Of one cell at most."""


def executed(page: Path, folder: Path) -> Any:
    """The notebook with its outputs; raises what nbclient raises where a cell fails."""
    book = nbformat.read(page, as_version=4)
    about = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=SECONDS, resources=about, record_timing=False).execute()
    for cell in book.cells:
        if cell.cell_type == "code":  # what a framework says on stderr names processes and times
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return book


def text_of(cell: Any) -> str:
    """What a cell prints and gives."""
    return "".join(out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", ()))


def main() -> None:
    page = PAGES[os.environ[VARIABLE]]
    with tempfile.TemporaryDirectory() as folder:
        book = executed(page, Path(folder))
    nbformat.write(book, page)


if __name__ == "__main__":
    main()
