"""Shards of a run merge to what one process says, and nothing else merges."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnhw.comparison import partial
from snnhw.comparison.partial import Part
from tests.unit.commands.line import Done, Room, snnhw


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnhw.api.CHUNK", 2)


def compare(room: Room, *more: object) -> Done:
    return snnhw("compare", room / "net.pt", room / "net.snnhw", "--data", room / "data.npz", "--json", *more)


def shards(room: Room, folder: Path, n: int, *command: object) -> list[Path]:
    """Parts of a command, written in another order than they have."""
    paths = [folder / f"{i}.npz" for i in range(1, n + 1)]
    for i, path in reversed(list(enumerate(paths, start=1))):
        done = snnhw(*command, "--shard", f"{i}/{n}", "-o", path)
        assert done.code == 0, done.err
    return paths


def counted(room: Room, folder: Path, n: int = 3, *more: object) -> list[Path]:
    return shards(room, folder, n, "compare", room / "net.pt", room / "net.snnhw", "--data", room / "data.npz", *more)


def without_provenance(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return {key: value for key, value in done.json.items() if key != "provenance"}


def test_shards_of_compare_merge_to_one_process(sew: Room, tmp_path: Path) -> None:
    parts = counted(sew, tmp_path)
    merged = snnhw("merge", parts[2], parts[0], parts[1], "--json")
    whole = compare(sew)
    assert without_provenance(merged) == without_provenance(whole)
    start = merged.out.index('"float"')
    assert merged.out[start : merged.out.index('"provenance"')] == whole.out[start : whole.out.index('"provenance"')]


def test_input_options_travel_with_the_parts(sew: Room, tmp_path: Path) -> None:
    asked = ("--encode", "bernoulli", "--seed", 3)
    merged = snnhw("merge", *counted(sew, tmp_path, 2, *asked), "--json", "--markdown", tmp_path / "r.md")
    assert without_provenance(merged) == without_provenance(compare(sew, *asked))
    assert (tmp_path / "r.md").exists()


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_shards_of_run_merge_to_one_process(engine: str, stbp: Room, tmp_path: Path) -> None:
    asked = (
        "run",
        stbp / "net.snnhw",
        "--input",
        stbp / "data.npz",
        "--engine",
        engine,
        "--record",
        "spikes",
        "--json",
    )
    parts = shards(stbp, tmp_path, 3, *asked)
    merged = snnhw("merge", *parts, "-o", tmp_path / "out.npz", "--json")
    whole = snnhw(*asked, "-o", tmp_path / "whole.npz")
    assert {**merged.json, "output": None} == {**whole.json, "output": None}
    with np.load(tmp_path / "out.npz") as a, np.load(tmp_path / "whole.npz") as b:
        assert sorted(a) == sorted(b)
        for name in a:
            assert np.array_equal(a[name], b[name])


def test_a_part_says_what_it_is_of(sew: Room, tmp_path: Path) -> None:
    done = compare(sew, "--shard", "2/3", "-o", tmp_path / "p.npz")
    assert done.json == {"first": 2, "last": 4, "total": 6, "output": str(tmp_path / "p.npz")}


def test_refused_sets_of_parts(sew: Room, tmp_path: Path) -> None:
    a, b, c = counted(sew, tmp_path)
    assert "parts-missing: samples are in no part\n  where: samples 2 to 3" in snnhw("merge", a, c).err
    assert "parts-missing: samples are in no part\n  where: samples 4 to 5" in snnhw("merge", a, b).err
    assert "parts-overlap: samples are in two parts\n  where: samples 2 to 3" in snnhw("merge", a, b, b, c).err
    assert compare(sew, "--shard", "1/2", "-o", tmp_path / "other.npz").code == 0
    assert (
        "parts-differ: the parts are of different runs\n  where: shards"
        in snnhw("merge", tmp_path / "other.npz", c).err
    )
    rng = np.random.default_rng(5)
    np.savez(tmp_path / "more.npz", x=rng.integers(0, 256, (6, 1, 8, 8)).astype(np.uint8), y=rng.integers(0, 4, 6))
    asked = ("--data", tmp_path / "more.npz", "--shard", "3/3", "-o", tmp_path / "more_3.npz")
    assert snnhw("compare", sew / "net.pt", sew / "net.snnhw", *asked).code == 0
    assert "where: data" in snnhw("merge", a, b, tmp_path / "more_3.npz").err


def test_damaged_parts(sew: Room, tmp_path: Path) -> None:
    a, b, c = counted(sew, tmp_path)
    with np.load(b) as content:
        arrays = dict(content)
    arrays["predictions"] = arrays["predictions"] + 1
    np.savez(b, **arrays)
    assert "bad-part: this is no part of a run, or it was damaged" in snnhw("merge", a, b, c).err
    assert "bad-part" in snnhw("merge", sew / "data.npz").err


@pytest.fixture(scope="module")
def counted_once(sew: Room, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snnhw.api.CHUNK", 2)
        return counted(sew, tmp_path_factory.mktemp("parts"))


def forged(path: Path, change: Callable[[Part], Part]) -> Path:
    """A part of another content, with a right hash."""
    partial.save(change(partial.load(path)), path)
    return path


FORGED: dict[str, Callable[[Part], Part]] = {
    "an array too few": lambda p: replace(p, arrays={k: a for k, a in p.arrays.items() if k != "sum:model/cores"}),
    "an array of another shape": lambda p: replace(p, arrays={**p.arrays, "sum:model/times": np.zeros(2, np.int64)}),
    "a sample too few": lambda p: replace(p, arrays={**p.arrays, "predictions": p.arrays["predictions"][1:]}),
    "a sum that overflows": lambda p: replace(p, arrays={**p.arrays, "sum:samples": np.array(1 << 62)}),
    "a sum that is no integer": lambda p: replace(p, arrays={**p.arrays, "sum:samples": np.array(0.5)}),
    "a manifest of another type": lambda p: replace(p, of={**p.of, "first": "0"}),
    "a manifest with more in it": lambda p: replace(p, of={**p.of, "more": 1}),
    "inputs that are not the artifact's": lambda p: replace(p, of={**p.of, "static": {"other": True}}),
    "a manifest without rasters": lambda p: replace(p, of={k: v for k, v in p.of.items() if k != "rasters"}),
}


@pytest.mark.parametrize("what", FORGED)
def test_parts_with_a_right_hash_and_wrong_content(what: str, counted_once: list[Path], tmp_path: Path) -> None:
    """Whoever can write a part can write its hash; so can another version of snnhw."""
    refused = snnhw("merge", *(forged(Path(shutil.copy(p, tmp_path)), FORGED[what]) for p in counted_once))
    assert (refused.code, refused.err.count("bad-part: this is no part of a run, or it was damaged")) == (1, 1)


def test_parts_whose_arrays_differ(counted_once: list[Path], tmp_path: Path) -> None:
    a, b, c = (Path(shutil.copy(path, tmp_path)) for path in counted_once)
    forged(a, FORGED["an array of another shape"])
    assert "parts-differ: the parts are of different runs\n  where: arrays" in snnhw("merge", a, b, c).err


def test_another_artifact(sew: Room, stbp: Room, tmp_path: Path) -> None:
    parts = counted(sew, tmp_path)
    refused = snnhw("merge", *parts, "--artifact", stbp / "net.snnhw")
    assert "other-artifact: the parts were counted with another artifact" in refused.err
    shutil.copy(sew / "net.snnhw", tmp_path / "moved.snnhw")
    assert snnhw("merge", *parts, "--artifact", tmp_path / "moved.snnhw").code == 0


def test_more_shards_than_batches(sew: Room, tmp_path: Path) -> None:
    done = compare(sew, "--shard", "1/4", "-o", tmp_path / "p.npz")
    assert "too-many-shards: there are fewer batches of samples than shards" in done.err


@pytest.mark.parametrize("said", ["0/3", "4/3", "1", "a/b", "-1/2"])
def test_no_shard(said: str, sew: Room, tmp_path: Path) -> None:
    done = compare(sew, f"--shard={said}", "-o", tmp_path / "p.npz")
    assert (done.code, "is no shard I/N" in done.err) == (2, True)


def test_wrong_use(sew: Room, tmp_path: Path) -> None:
    assert compare(sew, "--shard", "1/2").code == 2
    assert compare(sew, "-o", tmp_path / "p.npz").code == 2
    run = ("run", sew / "net.snnhw", "--input", sew / "data.npz", "--shard", "1/2")
    assert snnhw(*run).code == 2
    assert snnhw("run", sew / "net.pt", *run[2:], "--engine", "float", "-o", tmp_path / "p.npz").code == 2
    (part,) = shards(sew, tmp_path, 1, *run[:-2])
    assert snnhw("merge", part, "--html", tmp_path / "r.html").code == 2
    parts = counted(sew, tmp_path, 2)
    assert snnhw("merge", *parts, "-o", tmp_path / "o.npz").code == 2
