"""Every mutant that once got through: `tests/corpus/KIND/what--SEED`; and a minute of others (slow)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack import forms, mutate, seeds
from tests.attack.judge import CONTENT, GOOD, LINES, Judge

ROOT = Path(__file__).resolve().parents[2]
CORPUS = sorted((ROOT / "tests" / "corpus").glob("*/*"))
ENVIRONMENT = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attack") / "room"
    seeds.made(path, sorted({entry.parts[-2] for entry in CORPUS} - {"words"} | {"nir"}))
    return path


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: "/".join(entry.parts[-2:]))
def test_what_once_got_through(entry: Path, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, or taken with the content that it had; by every command that reads such a file."""
    kind, name = entry.parts[-2], entry.name.split("--")[1]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / room.name).symlink_to(room)  # a table names files by where they are from it
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    judge = Judge(room, place, deep=1)
    for number in range(max(1, len(LINES[kind]))):
        found = judge(kind, name, entry.read_bytes(), kind in CONTENT and "hidden" in entry.name, number)
        assert found.kind in GOOD, f"{found.kind}: {found.key}\n{found.detail}"


@pytest.mark.parametrize("kind", mutate.OF)
def test_a_mutant_follows_from_its_seed(kind: str) -> None:
    blobs = {"a.x": random.Random(0).randbytes(300), "b.x": b"{}" * 30}
    if kind in ("shards", "zarr", "images"):
        blobs = {name: forms.zipped([("x.npy", blob), ("y.png", blob)]) for name, blob in blobs.items()}
    if kind == "safetensors":
        blobs = {"a.safetensors": b"\x22" + bytes(7) + b'{"__metadata__": {"snnhw": "[1]"} }' + bytes(300)}
    if kind == "csv":
        blobs = {"a.csv": b"artifact,data\na.snnhw,b.npz\nc.snnhw,d.npz\n"}
    if kind == "words":
        blobs = {"a.words": b'["run", "a.snnhw", "--input", "b.npz", "--steps", "3"]'}
    made = [mutate.mutant(kind, f"s:{number}", blobs) for number in range(20)]
    assert made == [mutate.mutant(kind, f"s:{number}", blobs) for number in range(20)]
    assert len({blob for _, blob, _ in made}) >= 8


@pytest.mark.slow
def test_a_minute_of_mutants() -> None:
    """The same ones everywhere, of a slow machine fewer; `make fuzz` takes new ones each time. A failure names the
    mutant: `--one KIND:SEED:NUMBER` is that one again."""
    words = [sys.executable, "-m", "tests.attack.fuzz", "100", "--seed", "a minute", "--most", "300"]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["kills", "60"], ["faults"]])
def test_kills_and_faults(words: list[str]) -> None:
    words = [sys.executable, "-m", f"tests.attack.{words[0]}", *words[1:]]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
