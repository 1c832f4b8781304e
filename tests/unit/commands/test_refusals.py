"""Refused models, targets and data: exit 1, one clear message, no output file, no traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnhw.artifact import load
from snnhw.zoo.registry import build
from tests.unit.commands.line import Done, Room, snnhw
from tests.unit.frontends.checkpoints import CONFIGS, content, saved


def assert_refused(done: Done, code: str, *texts: str) -> None:
    assert done.code == 1
    assert done.err.startswith(f"error: {code}: ")
    assert "Traceback" not in done.err
    assert all(text in done.err for text in texts), done.err


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def malicious(parts: dict[str, Any], room: Path) -> None:
    parts["extra"] = Malicious(room / "executed")


def not_a_number(parts: dict[str, Any], room: Path) -> None:
    parts["model"]["conv1.0.weight"][0] = float("nan")


def missing_key(parts: dict[str, Any], room: Path) -> None:
    del parts["model"]["fc1.0.bias"]


def unknown_network(parts: dict[str, Any], room: Path) -> None:
    parts["network"]["kind"] = "vgg"


def bad_steps(parts: dict[str, Any], room: Path) -> None:
    parts["deploy"]["steps"] = "many"


CHECKPOINTS: list[tuple[Callable[[dict[str, Any], Path], None], str, str]] = [
    (malicious, "unsafe-checkpoint", "needed: posix.system"),
    (not_a_number, "not-finite", "9 values are NaN or infinite"),
    (missing_key, "bad-keys", "1 missing (fc1.0.bias)"),
    (unknown_network, "unknown-network", "limit: one of "),
    (bad_steps, "bad-checkpoint", "the checkpoint's 'deploy' part is incomplete"),
]


@pytest.mark.parametrize("machine", [False, True])
@pytest.mark.parametrize(("damage", "code", "text"), CHECKPOINTS)
def test_checkpoints(damage: Callable[..., None], code: str, text: str, machine: bool, tmp_path: Path) -> None:
    parts = content()
    damage(parts, tmp_path)
    saved(tmp_path / "net.pt", parts)
    words = ("compile", tmp_path / "net.pt", "--target", "loihi2", "-o", tmp_path / "net.snnhw", "--emit-nir")
    done = snnhw(*words, tmp_path / "net.nir", *["--json"] * machine)
    assert_refused(done, code, text)
    assert os.listdir(tmp_path) == ["net.pt"]
    if machine:
        assert done.json["error"]["code"] == code
        assert done.json["error"].keys() <= {"code", "message", "where", "needed", "limit", "hint"}
    else:
        assert done.out == ""


def test_a_layer_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnhw.zoo import registry

    def with_norm_pool(**config: Any) -> nn.Module:
        module = build("stbp_scnn", config)
        module.pool1[0] = nn.LPPool2d(2, 2)  # type: ignore[index, operator]
        return module

    monkeypatch.setitem(registry.KINDS, "norm_pool", with_norm_pool)
    parts = content()
    parts["network"] = {"kind": "norm_pool", "config": CONFIGS["stbp_scnn"]}
    saved(tmp_path / "net.pt", parts)
    done = snnhw("compile", tmp_path / "net.pt", "--target", "loihi2", "-o", tmp_path / "net.snnhw")
    assert_refused(done, "unknown-operation", "the operation lp_pool2d in forward is not supported", "where: pool1.0")
    assert os.listdir(tmp_path) == ["net.pt"]


def test_a_target_that_does_not_exist(stbp: Room, tmp_path: Path) -> None:
    done = snnhw("compile", stbp / "net.pt", "--target", "loihi9", "-o", tmp_path / "a.snnhw")
    assert_refused(done, "unknown-target", "no target named 'loihi9'", "hint: choose one of: ", "loihi2")
    assert_refused(snnhw("targets", "loihi9"), "unknown-target")
    assert os.listdir(tmp_path) == []


def _with_value(line: str, value: int) -> str:
    head, tail = line.split("value = ", 1)
    return f"{head}value = {value},{tail.split(',', 1)[1]}"


def test_a_network_that_does_not_fit(stbp: Room, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "targets" / "loihi2.toml").read_text(encoding="utf-8")
    lines = [_with_value(line, 4) if line.startswith("in_axons") else line for line in text.splitlines()]
    (tmp_path / "tiny.toml").write_text("\n".join(lines), encoding="utf-8")
    done = snnhw("compile", stbp / "net.pt", "--target", tmp_path / "tiny.toml", "-o", tmp_path / "a.snnhw")
    assert_refused(done, "does-not-fit", "no slice of ", "too many in-axons", "limit: 4 in-axons per core")
    checked = snnhw("check", stbp / "net.pt", "--target", tmp_path / "tiny.toml", "--json")
    assert (checked.code, checked.json["fits"]) == (1, False)
    assert checked.json["refusal"]["code"] == "does-not-fit"
    assert done.err in snnhw("check", stbp / "net.pt", "--target", tmp_path / "tiny.toml").err.replace(
        "compile says", "error"
    )
    assert os.listdir(tmp_path) == ["tiny.toml"]


DATA: list[tuple[dict[str, Any], str, str]] = [
    ({"x": np.zeros((2, 3, 3))}, "bad-shape", "needed: (samples, 1, 8, 8) or (samples, 4, 1, 8, 8)"),
    ({"x": np.zeros((2, 5, 1, 8, 8))}, "bad-shape", "got (2, 5, 1, 8, 8)"),
    ({"x": np.full((2, 1, 8, 8), np.nan)}, "bad-data", "samples hold values that are not finite"),
    ({"x": np.full((2, 1, 8, 8), 7.0)}, "bad-range", "Bernoulli encoding needs values in [0, 1]"),
    ({"y": np.zeros(2, int)}, "bad-data", "the file holds no array named x"),
    ({"x": np.zeros((2, 1, 8, 8)), "y": np.zeros(3, int)}, "bad-labels", "labels do not fit the samples"),
    ({"x": np.zeros((2, 1, 8, 8)), "y": np.array([0, 4])}, "bad-labels", "needed: 0 to 4\n  limit: 0 to 3"),
]


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize(("arrays", "code", "text"), DATA)
def test_data(arrays: dict[str, Any], code: str, text: str, command: str, stbp: Room, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    if command == "run":
        done = snnhw("run", stbp / "net.snnhw", "--input", tmp_path / "d.npz", "-o", tmp_path / "out.npz", "--json")
    else:
        words = ("compare", stbp / "net.pt", stbp / "net.snnhw", "--data", tmp_path / "d.npz")
        done = snnhw(*words, "--html", tmp_path / "r.html", "--json")
    assert_refused(done, code, text)
    assert done.json["error"]["code"] == code
    assert os.listdir(tmp_path) == ["d.npz"]


def test_calibration_data_of_the_wrong_shape(sew: Room, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3, 3)))
    words = (
        "compile",
        sew / "net.pt",
        "--target",
        "loihi2",
        "--calibrate",
        tmp_path / "d.npz",
        "-o",
        tmp_path / "a.snnhw",
    )
    assert_refused(snnhw(*words), "bad-shape", "the data do not fit the network's input")
    assert os.listdir(tmp_path) == ["d.npz"]


@pytest.mark.parametrize("command", ["inspect", "explain", "run", "check"])
def test_artifacts_that_are_none(command: str, stbp: Room, tmp_path: Path) -> None:
    (tmp_path / "a.snnhw").write_text("hello")
    words = [command, tmp_path / "a.snnhw", *(["--input", stbp / "data.npz"] if command == "run" else [])]
    assert_refused(snnhw(*words), "bad-artifact", "not a readable artifact: BadZipFile")


def test_an_artifact_of_another_source(stbp: Room, sew: Room) -> None:
    done = snnhw("compare", stbp / "net.pt", sew / "net.snnhw", "--data", stbp / "data.npz")
    assert_refused(
        done, "different-networks", "the artifact was not compiled from this source", "compile the source again"
    )


def test_an_unknown_population(stbp: Room) -> None:
    done = snnhw("explain", stbp / "net.snnhw", "--population", "lif9", "--json")
    assert_refused(done, "unknown-population", "no population named 'lif9'", "limit: lif1, lif2, lif3, lif4")
    assert done.json["error"]["limit"] == "lif1, lif2, lif3, lif4"


def test_an_unknown_recipe(tmp_path: Path) -> None:
    assert_refused(snnhw("train", "vgg", "-o", tmp_path / "a.pt"), "unknown-recipe")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("where", ["missing", "file"])
def test_outputs_that_cannot_be_written(where: str, stbp: Room, tmp_path: Path) -> None:
    """A folder that does not exist, and a file where a folder should be."""
    (tmp_path / "file").touch()
    place = tmp_path / where
    model, artifact, data = stbp / "net.pt", stbp / "net.snnhw", stbp / "data.npz"
    commands: list[tuple[Any, ...]] = [
        ("compile", model, "--target", "loihi2", "-o", place / "a.snnhw"),
        ("compile", model, "--target", "loihi2", "-o", tmp_path / "a.snnhw", "--emit-nir", place / "a.nir"),
        ("run", artifact, "--input", data, "-o", place / "a.npz"),
    ]
    for words in commands:
        done = snnhw(*words, "--json")
        assert_refused(done, "cannot-write", "the output's folder does not exist")
        assert done.json["error"]["code"] == "cannot-write"
    assert os.listdir(tmp_path) == ["file"]
    assert stbp.files == ["data.npz", "net.nir", "net.pt", "net.snnhw"]


def test_reports_that_cannot_be_written(stbp: Room, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("compare", stbp / "net.pt", stbp / "net.snnhw", "--data", stbp / "data.npz", "--samples", 1)
    for option in ("--html", "--markdown"):
        done = snnhw(*words, option, tmp_path / "file" / "report")
        assert_refused(done, "cannot-write", "the output's folder does not exist")
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_compilation_keeps_the_old_artifact(stbp: Room, tmp_path: Path) -> None:
    shutil.copy(stbp / "net.snnhw", tmp_path / "a.snnhw")
    torch.save({}, tmp_path / "broken.pt")
    done = snnhw("compile", tmp_path / "broken.pt", "--target", "loihi2", "-o", tmp_path / "a.snnhw")
    assert done.code == 1
    assert load(tmp_path / "a.snnhw").steps == 4
