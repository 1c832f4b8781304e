"""Files of other frameworks: those of tests/frontends/files, and small ones built by hand."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

import numpy as np

FILES = Path(__file__).resolve().parents[2] / "frontends" / "files"


@cache
def cases() -> list[tuple[str, str]]:
    """(framework, case) of every stored file."""
    found = []
    for path in sorted(FILES.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found += [(path.stem, name[:-4]) for name in sorted(archive.namelist()) if name.endswith(".nir")]
    return found


def unpacked(framework: str, case: str, folder: Path) -> tuple[Path, np.ndarray, dict[str, np.ndarray]]:
    """(the exporter's file, samples (B, T, ...), node -> spikes (B, T, ...) as the framework had them)."""
    with zipfile.ZipFile(FILES / f"{framework}.zip") as archive:
        archive.extractall(folder, [f"{case}.nir", f"{case}.npz"])
    with np.load(folder / f"{case}.npz") as data:
        spikes = {name.removeprefix("spikes/"): data[name] for name in data.files if name != "x"}
        return folder / f"{case}.nir", data["x"].astype(np.float64), spikes
