"""A sweep is resumed, split and shared; its points are what compile and compare say of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snnhw import api, sweep
from snnhw.comparison.points import Point, Row
from snnhw.pipeline import Options, Pipeline
from snnhw.report import tradeoff
from tests.unit.commands.line import Done, Room, snnhw

GRID = ("--target", "loihi1,loihi2", "--weight-bits", "8,4")


def swept(room: Room, folder: Path, *more: object) -> Done:
    return snnhw("sweep", room / "net.pt", "--data", room / "data.npz", "--samples", 3, "-o", folder, *more)


@pytest.fixture(scope="module")
def folder(sew: Room, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "new" / "folder"
    done = swept(sew, path, *GRID)
    assert done.code == 0, done.err
    assert done.out.startswith("Sweep")
    assert "pictures and tables" in done.out
    return path


def test_every_point_is_what_compile_and_compare_say(sew: Room, folder: Path) -> None:
    rows = json.loads((folder / "sweep.json").read_text())
    assert [row["target"] for row in rows] == ["loihi1"] * 2 + ["loihi2"] * 2
    for row in (rows[1], rows[2]):
        path = folder / row["artifact"]
        asked: dict[str, Any] = {"target": row["target"], "weight_bits": row["weight_bits"], "map": row["map"]}
        assert api.load(path).mapping == api.compile(sew / "net.pt", **asked).mapping
        said = snnhw("compare", sew / "net.pt", path, "--data", sew / "data.npz", "--samples", 3, "--json").json
        assert (row["accuracy"], row["agreement"]) == (said["quantized"]["accuracy"], said["agreement"])
        ends = [row[f"energy_j{end}"] for end in ("_low", "", "_high")]
        assert ends == [said["energy"]["band"][end] for end in ("low", "likely", "high")]
        assert (row["energy_j"], row["cores"]) == (said["energy"]["total_j"], said["cores_used"])
    assert {name for name in tradeoff.NAMES if not (folder / name).exists()} == set()


def test_what_is_there_is_not_measured_again(sew: Room, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "sweep.json").read_text()

    def none(*args: Any) -> Row:
        raise AssertionError(args[0])

    monkeypatch.setattr(sweep, "_measured", none)
    again = swept(sew, folder, *GRID, "--json")
    assert json.dumps(again.json, indent=2) + "\n" == before
    fewer = swept(sew, folder, "--target", "loihi2", "--weight-bits", 4, "--json")
    assert fewer.json == [again.json[3]]


def test_shards_fill_one_folder(sew: Room, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in (2, 1):
        done = swept(sew, tmp_path, "--target", "loihi2", "--weight-bits", "8,4", "--shard", f"{i}/2")
        assert done.out == "1 of 2 points\n"
    assert not (tmp_path / "sweep.json").exists()
    monkeypatch.setattr(sweep, "_measured", None)
    whole = swept(sew, tmp_path, "--target", "loihi2", "--weight-bits", "8,4", "--json").json
    assert [row["weight_bits"] for row in whole] == ["8", "4"]


def test_a_point_that_does_not_fit_is_a_row(sew: Room, tmp_path: Path) -> None:
    done = swept(sew, tmp_path, "--target", "loihi2", "--weight-bits", "8", "--weight-bits", "nowhere=4", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["refused"] is None
    assert done.json[1]["refused"].startswith("unmatched-weight-bits")
    shown = swept(sew, tmp_path, "--target", "loihi2", "--weight-bits", "8", "--weight-bits", "nowhere=4")
    assert "WARNING" in shown.out
    none = swept(sew, tmp_path / "none", "--target", "loihi2", "--weight-bits", "nowhere=4", "--json")
    assert none.code == 1
    assert "no-point: no point of the sweep can be compiled" in none.err
    assert none.json["error"]["needed"].startswith("unmatched-weight-bits: no layer with weights")
    assert none.json["error"]["where"].startswith("loihi2, nowhere=4 bits")


NAN = float("nan")


def test_a_damaged_point_is_named(sew: Room, folder: Path) -> None:
    path = next(p for p in folder.glob("*.json") if p.name != "sweep.json")
    whole = path.read_text()
    forms = [whole[:50], "[]", "{}", '{"refused": 1}', whole.replace('"cores": ', '"cores": 0.5'), "[" * 10_000]
    for key, value in (("energy_j_low", None), ("energy_j_high", 0), ("synops", -1), ("accuracy", 2), ("spikes", NAN)):
        forms.append(json.dumps({**json.loads(whole), key: value}))
    forms += [whole + " " * (1 << 20), json.dumps({"refused": "x", "period_s": NAN})]
    for damaged in forms:
        path.write_text(damaged)
        done = swept(sew, folder, *GRID, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "bad-point"), damaged[:60]
        assert "a point of an earlier sweep cannot be read" in done.err
    path.write_text(whole)


@pytest.mark.parametrize("words", [("--map", "best"), ("--steps", "0"), ("--scale", "none"), ("--steps", "four")])
def test_wrong_use(words: tuple[str, str], sew: Room, tmp_path: Path) -> None:
    assert swept(sew, tmp_path, "--target", "loihi2", *words).code == 2


def test_stages_are_made_once(sew: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One import for all, one lowering for a target, one quantisation for its widths; and the same artifacts."""
    made: list[str] = []
    begin = lambda target, t: Pipeline(sew / "net.pt", target, Options(), made.append)  # noqa: E731
    stages = sweep.Stages(begin)
    points = sweep.grid(["loihi1", "loihi2"], ["4"], maps=["fewest-cores", "balanced"])
    found = [stages.of(point).mapped for point in points]
    counted = {name: made.count(name) for name in ("import", "lower", "quantise", "map")}
    assert counted == {"import": 1, "lower": 2, "quantise": 2, "map": 4}
    for point, artifact in zip(points[3:], found[3:], strict=True):
        options = Options(weight_bits=point.weight_bits, aim=point.map)
        alone = Pipeline(sew / "net.pt", point.target, options).mapped
        assert (artifact.mapping, artifact.checks, artifact.warnings) == (alone.mapping, alone.checks, alone.warnings)
        assert artifact.rationale == alone.rationale
    other = sweep.Stages(begin)
    steps = [other.of(Point("loihi2", steps=t)) for t in (None, 3)]
    assert steps[0].imported is not steps[1].imported


def test_the_front_is_what_nothing_beats() -> None:
    rows = [
        Row(Point("a"), accuracy=accuracy, agreement=1.0, energy_j=energy, period_s=1.0)
        for accuracy, energy in ((0.5, 1.0), (0.4, 2.0), (0.9, 3.0), (0.9, 4.0), (0.95, 5.0))
    ]
    assert [row.energy_j for row in tradeoff.front([*rows, Row(Point("b"), refused="x: y")], "energy_j")] == [1, 3, 5]
    ends = {"energy_j": 1.0, "energy_j_low": 0.5, "energy_j_high": 2.0}
    values = [Row(Point("a"), rmse=error, **ends) for error in (0.2, 0.1)]
    assert tradeoff.front(values, "energy_j") == [values[1]]
    assert "-RMSE" in tradeoff.picture(values, "energy").svg()


def test_a_shard_of_a_sweep_is_no_file_to_merge() -> None:
    assert "of the points, into the folder" in " ".join(snnhw("sweep", "--help").out.split())
    assert "snnhw merge" not in snnhw("sweep", "--help").out
    assert "snnhw merge" in " ".join(snnhw("compare", "--help").out.split())
