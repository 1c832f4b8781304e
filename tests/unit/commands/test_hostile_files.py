"""Whatever is given for a file: exit 1, one message that names it, no traceback, little memory, little time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import hostile
from tests.unit.commands.hostile_files import ANY, SPECIAL
from tests.unit.commands.line import Room
from tests.unit.frontends.netx.files import matrix

CHECK = ("check", "{file}", "--target", "loihi2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "samples.npz": ("run", "{room}/net.snnhw", "--input", "{file}"),
    "net.pt": CHECK,
    "net.t7": CHECK,
    "net.nir": CHECK,
    "net.net": CHECK,
    "net.onnx": (*CHECK, "--steps", "4", "--calibrate", "{room}/images.npz"),
    "net.snnhw": ("inspect", "{file}"),
    "run.snnhw": ("run", "{file}", "--input", "{room}/data.npz"),
    "chip.toml": ("check", "{room}/net.pt", "--target", "{file}"),
    "rules.json": ("check", "{room}/net.nir", "--target", "loihi2", "--semantics", "{file}"),
    "run.npz": ("diff", "{file}", "{file}"),
}
VALID = {
    "samples.npz": "data.npz",
    "net.t7": "net.pt",
    "net.onnx": "ann.onnx",
    "run.snnhw": "net.snnhw",
    "chip.toml": "chip.toml",
    "rules.json": "rules.json",
}
"""A valid file of the kind (or of a near one), to damage."""

MEGABYTES = 700
"""What a refusal may take beyond what the program takes anyway."""

FINE = {
    ("chip.toml", "all but the last bytes"),  # a line end
    ("rules.json", "flipped bytes"),  # too short to be hit
}
CASES = [
    (name, form)
    for name in COMMANDS
    for form in {**(ANY if name != "run.snnhw" else {}), **SPECIAL.get(name, {})}
    if (name, form) not in FINE and not (name in ("rules.json", "chip.toml") and form == "half")
]


@pytest.fixture(scope="module")
def results(stbp: Room, examples: Path) -> Iterator[dict[str, Any]]:
    """Every case, run once."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    room = folder / "room"
    shutil.copytree(stbp.path, room)
    shutil.copy(examples / "ann_cnn.onnx", room / "ann.onnx")
    shutil.copy(examples / "fashion_mnist_calibration.npz", room / "images.npz")
    shutil.copy(examples.parent / "targets" / "loihi2.toml", room / "chip.toml")
    matrix("dense", room / "net.net")
    np.savez(room / "run.npz", **{"spikes/n": np.zeros((2, 3), np.uint8)})
    room.chmod(0o755)
    for path in room.iterdir():
        path.chmod(0o644)
    (room / "rules.json").write_text('{"threshold": "ge"}')
    cases: dict[str, Any] = {}
    here: dict[str, Any] = {}
    for i, (name, form) in enumerate(CASES):
        path = folder / str(i) / name
        path.parent.mkdir()
        {**ANY, **SPECIAL.get(name, {})}[form](path, (room / VALID.get(name, name)).read_bytes())
        words = [word.format(file=path, room=room) for word in COMMANDS[name]]
        alone = form in ("unreadable", "in a locked folder")
        cases[f"{name}: {form}"] = [hostile.SWITCH] * alone + words
    for name in COMMANDS:
        path = room / VALID.get(name, name)
        here[f"{name}: valid"] = [word.format(file=path, room=room) for word in COMMANDS[name]]
    cases["here"] = here | {f"first {name}": cases[f"{name}: empty"] for name in COMMANDS if name != "run.snnhw"}
    (folder / "cases.json").write_text(json.dumps(cases))
    words = [sys.executable, "-m", "tests.hostile", str(folder / "cases.json"), str(folder / "results.json")]
    subprocess.run(
        words,
        cwd=examples.parent,
        check=True,
        env={**os.environ, "COLUMNS": "200", "NUMBA_THREADING_LAYER": "workqueue"},
    )
    yield json.loads((folder / "results.json").read_text())
    shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_refused(name: str, form: str, results: dict[str, Any]) -> None:
    found = results[f"{name}: {form}"]
    assert found["code"] == (2 if COMMANDS[name][0] == "diff" else 1), found  # 1 of `diff` means: they differ
    assert found["err"].startswith("error: "), found["err"]
    assert found["err"].count("error: ") == 1 or "Error: " in found["err"]
    assert "Traceback" not in found["err"]
    assert name in found["err"]
    assert found["out"] == ""
    assert len(found["err"]) < 3000
    assert found["err"].replace("\n", "").isprintable()
    assert found["megabytes"] < MEGABYTES, found["megabytes"]
    assert found["seconds"] < 20


@pytest.mark.parametrize("name", COMMANDS)
def test_valid_files_are_accepted(name: str, results: dict[str, Any]) -> None:
    """Or the cases above could be refused for another reason."""
    found = results[f"{name}: valid"]
    assert (found["code"], found["err"]) == (0, "")
