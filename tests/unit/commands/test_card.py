"""A model card says what the file and a comparison say, with grades, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snnhw.chip.band import Band
from snnhw.machine import GRADES
from snnhw.report.card import UNSAID
from snnhw.report.numbers import band, percent
from tests.unit.commands.line import Room, snnhw


@pytest.fixture(scope="module")
def compared(sew: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("card") / "compared.json"
    done = snnhw("compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--json")
    path.write_text(done.out, encoding="utf-8")
    return path


def test_of_an_artifact(sew: Room, compared: Path, tmp_path: Path) -> None:
    words = [
        "card",
        sew / "net.snnhw",
        "--comparison",
        compared,
        "--licence",
        "Apache-2.0",
        "-o",
        tmp_path / "README.md",
    ]
    assert snnhw(*words).code == 0
    text, found = (tmp_path / "README.md").read_text(encoding="utf-8"), json.loads(compared.read_text(encoding="utf-8"))
    front = text.split("---\n")[1]
    assert 'license: "Apache-2.0"\n' in front
    assert f"value: {found['quantized']['accuracy']!r}" in front
    assert f"Integers: {percent(found['quantized']['accuracy'])} of {found['samples']} samples (95 % interval" in text
    assert f"Energy: {band(Band(**found['energy']['band']), 'J')} a sample [{found['energy']['grade']}] on " in text
    assert found["energy"]["excluded"] in text
    assert "| target | loihi2 |" in text
    assert f"the surest first: {', '.join(GRADES)}\n" in text
    assert "snnhw run net.snnhw --input samples.npz" in text
    assert snnhw(*words, "--json").json["comparison"]["samples"] == found["samples"]


@pytest.mark.parametrize("name", ["none.pt", "none.snnhw"])
def test_a_missing_file_is_no_such_file(name: str, sew: Room, tmp_path: Path) -> None:
    assert snnhw("card", tmp_path / name).err.startswith("error: no-such-file: there is no such file\n")
    done = snnhw("card", sew / "net.snnhw", "--comparison", tmp_path / "none.json")
    assert done.err.startswith("error: no-such-file: there is no such file\n")


def test_of_a_checkpoint_without_a_comparison(sew: Room) -> None:
    done = snnhw("card", sew / "net.pt")
    assert done.code == 0, done.err
    assert f"| licence | {UNSAID} |" in done.out
    assert "| recipe | tiny |" in done.out
    assert "Not measured" in done.out
    assert "license:" not in done.out


def test_the_comparison_is_one_of_this_model(sew: Room, stbp: Room, compared: Path, tmp_path: Path) -> None:
    done = snnhw("card", stbp / "net.snnhw", "--comparison", compared)
    assert done.code == 1
    assert "other-artifact: the comparison is of another model" in done.err
    (tmp_path / "x.json").write_text('{"samples": 3}', encoding="utf-8")
    done = snnhw("card", sew / "net.snnhw", "--comparison", tmp_path / "x.json")
    assert done.code == 1
    assert "bad-comparison: this is no comparison" in done.err


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("samples",), "3"), (("samples",), 0), (("quantized", "accuracy"), 2.0), (("energy", "band", "low"), None),
        (("latency",), []), (("warnings",), [{}]), (("provenance", "artifact"), 1), (("agreement",), "all"),
    ],
)  # fmt: skip
def test_a_comparison_of_wrong_types(
    place: tuple[str, ...], value: object, sew: Room, compared: Path, tmp_path: Path
) -> None:
    content = json.loads(compared.read_text())
    held = content
    for key in place[:-1]:
        held = held[key]
    held[place[-1]] = value
    (tmp_path / "x.json").write_text(json.dumps(content))
    done = snnhw("card", sew / "net.snnhw", "--comparison", tmp_path / "x.json")
    assert (done.code, done.err.count("bad-comparison: this is no comparison")) == (1, 1)
