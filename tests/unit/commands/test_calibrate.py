"""`snnhw calibrate`: a target of one's own from a CSV of measured runs; what cannot be used is refused by row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from snnhw.artifact import load
from snnhw.commands.calibrate_command import read
from snnhw.machine import load_target
from tests.unit.commands.line import Room, snnhw


@pytest.fixture(scope="module")
def board(sew: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight runs of one network on inputs of other sizes; the board is twice as slow and dear as loihi2."""
    folder = tmp_path_factory.mktemp("board")
    draw, shape = np.random.default_rng(0), load(sew / "net.snnhw").inputs[0].sample_shape
    rows = ["artifact,data,samples,seconds,joules"]
    for i in range(8):
        x = (draw.random((2, *shape)) < (i + 1) / 9) * 255
        np.savez(folder / f"{i}.npz", x=x.astype(np.uint8))
        found = snnhw("compare", sew / "net.pt", sew / "net.snnhw", "--data", folder / f"{i}.npz", "--json").json
        seconds, joules = 2 * found["throughput"]["seconds_per_sample"], 2 * found["energy"]["total_j"]
        rows.append(f"{sew / 'net.snnhw'},{i}.npz,,{seconds!r},{joules!r}")
    (folder / "board.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_a_target_of_ones_own(board: Path) -> None:
    done = snnhw("calibrate", "loihi2", "--measurements", board / "board.csv", "-o", board / "mine.toml", "--json")
    assert done.code == 0, done.err
    told = [row for row in done.json["constants"] if row["told"]]
    assert told
    for row in told:
        assert row["low"] <= row["value"] <= row["high"]
    assert done.json["runs"] == 8
    mine = load_target(str(board / "mine.toml"))
    for row in told:
        constant = mine.constant(row["key"])
        assert (constant.grade, float(constant.si())) == (
            "measured-fit",
            pytest.approx(row["value"], rel=1e-3, abs=1e-12),
        )
        assert "8 runs of board.csv" in constant.source
    kept = next(row["key"] for row in done.json["constants"] if not row["told"] and "sync" not in row["key"])
    assert mine.constant(kept) == load_target("loihi2").constant(kept)
    said = snnhw("calibrate", "loihi2", "--measurements", board / "board.csv", "-o", board / "mine.toml").out
    assert "not told by these runs: stays" in said
    assert "time: 8 runs, error of runs left out" in said


WRONG = [
    ("", "has columns none"),
    ("artifact,data,watts\na,b,1\n", "has columns artifact, data, watts"),
    ("artifact,data\n", "has no runs"),
    ("artifact,data,joules\n,d.npz,1\n", "a run names an artifact and its data, and has no further fields"),
    ("artifact,data,joules\na,d.npz,1,9\n", "a run names an artifact and its data, and has no further fields"),
    ("artifact,data,joules\na,d.npz,much\n", "joules is no number: much"),
    ("artifact,data,seconds\na,d.npz,-1\n", "seconds should be above 0: -1"),
    ("artifact,data,seconds\na,d.npz,nan\n", "seconds should be above 0: nan"),
    ('artifact,data\n"a,d.npz\n', "not CSV: "),
    ("artifact,data\na\0,d.npz\n", "no file has such a name"),
    ("artifact,data\n" + "a,b\n" * 10_001, "has too many runs, from 1 to 10000 are read"),
]


@pytest.mark.parametrize(("text", "what"), WRONG)
def test_wrong_files_are_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    done = snnhw("calibrate", "loihi2", "--measurements", tmp_path / "m.csv", "-o", tmp_path / "t.toml")
    assert done.code == 1
    assert done.err.startswith("error: bad-measurements: the measurements cannot be used: ")
    assert what in done.err
    assert not (tmp_path / "t.toml").exists()


@pytest.mark.parametrize("name", ["board.csv", "0.npz"])
def test_measurements_are_never_replaced(name: str, board: Path) -> None:
    before = (board / name).read_bytes()
    done = snnhw("calibrate", "loihi2", "--measurements", board / "board.csv", "-o", board / name)
    assert done.code == 1
    assert "would-replace" in done.err
    assert (board / name).read_bytes() == before


def test_a_target_is_not_replaced_by_its_fit(board: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(load_target("loihi2").text, encoding="utf-8")
    assert "would-replace" in snnhw("calibrate", own, "--measurements", board / "board.csv", "-o", own).err


def test_a_spreadsheet_marks_its_utf_8(board: Path, tmp_path: Path) -> None:
    text = (board / "board.csv").read_text(encoding="utf-8")
    (tmp_path / "m.csv").write_text(text, encoding="utf-8-sig")
    assert read(tmp_path / "m.csv") == read(board / "board.csv")


def test_more_samples_than_there_are_are_refused(sew: Room, board: Path, tmp_path: Path) -> None:
    rows = f"artifact,data,samples\n{sew / 'net.snnhw'},{board / '0.npz'},2\n{sew / 'net.snnhw'},{board / '0.npz'},3\n"
    (tmp_path / "m.csv").write_text(rows, encoding="utf-8")
    done = snnhw("calibrate", "loihi2", "--measurements", tmp_path / "m.csv", "-o", tmp_path / "t.toml")
    assert "the measurements cannot be used: samples is 3, and the data hold 2\n  where: m.csv, row 2" in done.err


def test_runs_that_tell_nothing_write_nothing(board: Path, sew: Room, tmp_path: Path) -> None:
    rows = (board / "board.csv").read_text(encoding="utf-8").splitlines()
    few = tmp_path / "few.csv"
    few.write_text(
        "\n".join([rows[0], *(f"{sew / 'net.snnhw'},{board / f'{i}.npz'},1,," for i in range(2))]), encoding="utf-8"
    )
    done = snnhw("calibrate", "loihi2", "--measurements", few, "-o", tmp_path / "t.toml", "--json")
    assert (done.code, json.loads(done.out)["error"]["code"]) == (1, "cannot-tell")
    assert not (tmp_path / "t.toml").exists()
