"""`snnhw train`: what it lists, writes, notes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snnhw.zoo.registry import RECIPES
from tests.unit.commands.line import snnhw

NAME = "sew_resnet_smoke"


def test_the_list_names_every_recipe_under_its_family() -> None:
    lines = snnhw("train", "--list").out.splitlines()
    families = [line for line in lines if not line.startswith("  ")]
    assert "STBP (Wu et al. 2018), with its rectangular surrogate and with Dspike (Li et al. 2021)." in families
    assert len(families) == len(set(families))
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(RECIPES)
    after = lines.index("STBP (Wu et al. 2018), with its rectangular surrogate and with Dspike (Li et al. 2021).") + 1
    assert lines[after].split() == ["stbp_scnn", "T=20", "bernoulli", "13", "epochs", "of", "fashion_mnist"]
    row = next(row for row in snnhw("train", "--list", "--json").json if row["recipe"] == "sew_resnet")
    assert row["family"] == "SEW ResNet (Fang et al. 2021)."
    assert row["network"] == "sew_resnet"


def test_json_has_metrics_and_history(tmp_path: Path) -> None:
    done = snnhw("train", NAME, "-o", tmp_path / "m.pt", "--seed", "2", "--json")
    assert (done.code, done.json["seed"], done.json["epoch"], done.json["epochs"]) == (0, 2, 2, 2)
    assert done.json["recipe"] == NAME
    assert 0 <= done.json["test_accuracy"] <= 1
    assert [row["epoch"] for row in done.json["history"]] == [1, 2]
    assert len(done.err.splitlines()) == 2, "one line of progress an epoch, on stderr"


def test_health_as_a_page_and_as_json(tmp_path: Path) -> None:
    page, numbers = tmp_path / "h.html", tmp_path / "h.json"
    assert snnhw("train", NAME, "-o", tmp_path / "m.pt", "--epochs", "1", "--health", page).code == 0
    assert page.read_text().count("<svg") == 3
    done = snnhw("train", NAME, "-o", tmp_path / "m.pt", "--resume", "--health", numbers)
    assert done.code == 0
    assert "\nhealth" not in done.out, "the summary stays short"
    content = json.loads(numbers.read_text())
    assert (content["recipe"], content["seed"]) == (NAME, 0)
    assert [row["epoch"] for row in content["epochs"]] == [1, 2]
    assert set(content["epochs"][0]) >= {"layer", "rate", "dead", "saturated", "input_gradient", "weight_gradient"}
    assert content["epochs"][0]["layer"][0] == "stem_if"
    numbers.unlink()
    assert snnhw("train", NAME, "-o", tmp_path / "m.pt", "--resume", "--health", numbers).code == 0
    assert json.loads(numbers.read_text()) == content, "from the history, with nothing left to train"


def test_health_of_epochs_that_have_none(tmp_path: Path) -> None:
    snnhw("train", NAME, "-o", tmp_path / "m.pt", "--epochs", "1")
    done = snnhw("train", NAME, "-o", tmp_path / "m.pt", "--epochs", "1", "--resume", "--health", tmp_path / "h.html")
    assert done.code == 0
    assert f"{tmp_path}/h.html is not written: no epoch of this training was run with --health" in done.err
    assert not (tmp_path / "h.html").exists()


def test_resume_without_a_state_says_so(tmp_path: Path) -> None:
    done = snnhw("train", NAME, "-o", tmp_path / "m.pt", "--epochs", "1", "--resume")
    assert done.code == 0
    assert f"{NAME}: nothing to resume, {tmp_path}/m.pt.resume is not there: training starts anew" in done.err


def test_a_missing_data_set_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNHW_FASHION_MNIST", str(tmp_path / "none"))
    done = snnhw("train", "stbp_scnn", "-o", tmp_path / "m.pt")
    assert done.code == 1
    assert done.err.startswith("error: dataset-missing: Fashion-MNIST cannot be read: the folder does not exist")
    assert "set SNNHW_FASHION_MNIST to a folder that has them" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--health", "h.txt"], "--health writes FILE.html or FILE.json"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--epochs", "0"], "Invalid value for '--epochs'"),
    ],
)
def test_wrong_use(words: list[str], text: str) -> None:
    done = snnhw("train", NAME, *words)
    assert done.code == 2
    assert text in done.err


def test_outputs_are_refused_before_the_work(tmp_path: Path) -> None:
    done = snnhw("train", NAME, "-o", tmp_path / "m.json", "--health", tmp_path / "m.json")
    assert done.code == 1
    assert done.err.startswith("error: would-replace: ")
    done = snnhw("train", NAME, "-o", tmp_path / "m.pt", "--health", tmp_path / "none" / "h.html")
    assert done.err.startswith("error: cannot-write: the output's folder does not exist")
    assert not list(tmp_path.iterdir())
