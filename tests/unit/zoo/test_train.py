"""Training on the smoke recipes: it learns, resumes bit by bit, and writes plain checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from snnhw.errors import DataError, SnnhwError
from snnhw.frontends.ann import convert
from snnhw.zoo import checkpoint, datasets
from snnhw.zoo.encode import augment, encode
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.objectives import loss_of
from snnhw.zoo.registry import RECIPES, recipe_of
from snnhw.zoo.train import train

SMOKE = ["stbp_scnn_smoke", "sew_resnet_smoke"]


def quiet(_: str) -> None:
    """Takes a log line and drops it."""


def run(name: str, out: Path, **options: Any) -> dict[str, Any]:
    return train(name, out, log=quiet, **options)


@pytest.mark.parametrize("name", SMOKE)
def test_resumed_training_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    whole = run(name, tmp_path / "whole.pt", seed=3)
    half = run(name, tmp_path / "half.pt", seed=3, epochs=1)
    assert half["epoch"] == 1
    assert "test_accuracy" not in half["metrics"]
    resumed = run(name, tmp_path / "half.pt", seed=3, resume=True)
    assert resumed["history"] == whole["history"]
    assert whole["epoch"] == 2
    for key, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][key]), key
    other = run(name, tmp_path / "other.pt", seed=4, epochs=1)
    assert other["history"][0] != whole["history"][0]


@pytest.mark.parametrize("name", SMOKE)
def test_health_changes_nothing(name: str, tmp_path: Path) -> None:
    """Augmentation, Bernoulli draws and BatchNorm included; a run may go on with or without it."""
    without = run(name, tmp_path / "without.pt", seed=5)
    seen: list[int] = []
    probed = run(name, tmp_path / "with.pt", seed=5, health=lambda history: seen.append(len(history)), epochs=1)
    assert seen == [1]
    mixed = run(name, tmp_path / "with.pt", seed=5, resume=True)
    for key, value in without["model"].items():
        assert torch.equal(value, mixed["model"][key]), key
    first, second = mixed["history"]
    assert {key: value for key, value in first.items() if key != "health"} == without["history"][0]
    assert second == without["history"][1]
    assert set(probed["metrics"]) == set(without["history"][0]), "metrics are numbers"
    spiking = [n for n, m in checkpoint.load_model(tmp_path / "with.pt")[0].named_modules() if isinstance(m, Neuron)]
    assert sorted(first["health"]["layer"]) == sorted(spiking)
    assert all(gradient > 0 for gradient in first["health"]["input_gradient"])


def test_every_smoke_recipe_has_health(tmp_path: Path) -> None:
    """Of every family: those without surrogate gradients, and the ReLU network, which has no spiking layer."""
    for name in ("spikeprop_xor_smoke", "relpsp_digits_smoke", "tdbn_resnet_smoke", "sew_and_smoke", "ann_cnn_smoke"):
        history = run(name, tmp_path / f"{name}.pt", epochs=1, health=lambda _: None, convert=convert)["history"]
        assert bool(history[0]["health"]["layer"]) == (name != "ann_cnn_smoke")


def test_notes_on_what_is_resumed(tmp_path: Path) -> None:
    lines: list[str] = []
    path = tmp_path / "m.pt"
    text = f"stbp_scnn_smoke: nothing to resume, {path}.resume is not there: training starts anew"
    train("stbp_scnn_smoke", path, resume=True, epochs=1, log=lines.append)
    assert lines[0] == text
    path.unlink()
    again = train("stbp_scnn_smoke", path, resume=True, epochs=1, log=lines.append)
    assert lines[2:] == ["stbp_scnn_smoke: nothing left to train, 1 of 2 epochs are done"]
    assert checkpoint.read(path)["history"] == again["history"], "the file is there again"
    train("stbp_scnn_smoke", path, epochs=1, log=lines.append)
    text = f"stbp_scnn_smoke: training starts anew; {path}.resume of an earlier run is replaced after the first epoch"
    assert lines[3] == text


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    recipe = replace(RECIPES["sew_resnet_smoke"], lr=1e38)
    with pytest.raises(SnnhwError) as caught:
        train(recipe, tmp_path / "m.pt", log=quiet)
    text = "diverged: the loss is no longer a finite number\n  where: sew_resnet_smoke, epoch 1, batch "
    assert str(caught.value).startswith(text)
    assert "needed: a finite loss" in str(caught.value)
    assert "hint: lower the recipe's lr" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SMOKE)
def test_the_checkpoint_rebuilds_the_network(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = run(name, path)
    raw = torch.load(path, weights_only=True)
    assert set(raw) == {
        "format",
        "version",
        "recipe",
        "network",
        "model",
        "deploy",
        "calibration",
        "seed",
        "epoch",
        "metrics",
        "history",
    }
    recipe = RECIPES[name]
    assert raw["deploy"] == {
        "steps": recipe.steps,
        "encoding": recipe.encoding,
        "readout": recipe.readout,
        "input_shape": [1, 28, 28],
        "classes": 10,
        "preprocessing": "uint8/255",
    }
    model, _ = checkpoint.load_model(path)
    data = datasets.dataset_of("examples")
    found = accuracy(model, data.x_test, data.y_test, encoding=recipe.encoding, steps=recipe.steps)
    assert found == content["metrics"]["test_accuracy"]
    assert not list(tmp_path.glob(".*tmp"))


def test_training_learns(tmp_path: Path) -> None:
    recipe = replace(RECIPES["stbp_scnn_smoke"], epochs=12)
    assert train(recipe, tmp_path / "m.pt", log=quiet)["metrics"]["test_accuracy"] > 0.4


def test_resume_of_another_run_is_refused(tmp_path: Path) -> None:
    run("stbp_scnn_smoke", tmp_path / "m.pt", epochs=1)
    with pytest.raises(SnnhwError) as caught:
        run("stbp_scnn_smoke", tmp_path / "m.pt", seed=1, resume=True)
    text = f"resume-mismatch: the saved training state belongs to another run\n  where: {tmp_path}/m.pt.resume\n"
    assert str(caught.value).startswith(text + "  needed: seed 1, Recipe(name='stbp_scnn_smoke'")
    assert str(caught.value).endswith("hint: use the same recipe and seed, or delete the file to start anew")


def test_one_line_per_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    train("sew_resnet_smoke", tmp_path / "m.pt", log=lines.append)
    assert [line.split(" train_loss")[0] for line in lines] == [
        "sew_resnet_smoke epoch 1/2 T=2", "sew_resnet_smoke epoch 2/2 T=2"
    ]  # fmt: skip
    assert capsys.readouterr() == ("", "")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.pt"
    checkpoint.write(path, {"a": 1})

    def fail(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match="cannot-write: the output cannot be written: No space left on device"):
        checkpoint.write(path, {"a": 2})
    assert torch.load(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_unreadable_checkpoints_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.pt"
    with pytest.raises(SnnhwError, match=f"no-such-file: there is no such file\n  where: {path}"):
        checkpoint.read(path)
    path.write_bytes(content)
    with pytest.raises(SnnhwError, match=f"bad-checkpoint: the checkpoint cannot be read\n  where: {path}"):
        checkpoint.read(path)
    torch.save({"format": "other"}, path)
    with pytest.raises(SnnhwError, match="needed: format 'other', version None\n  limit: format 'snnhw-checkpoint'"):
        checkpoint.read(path)


def test_losses() -> None:
    mean, y = torch.tensor([[0.5, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    assert float(loss_of(RECIPES["stbp_scnn"], nn.Identity(), mean[None], y)) == pytest.approx(0.5 * 0.25 / 2)
    wanted = float(-torch.log_softmax(mean, 1)[torch.arange(2), y].mean())
    assert float(loss_of(RECIPES["sew_resnet"], nn.Identity(), mean[None], y)) == pytest.approx(wanted)


def test_schedule() -> None:
    recipe = RECIPES["stbp_scnn"]
    rates = [recipe.lr_at(i / 100) for i in range(101)]
    assert max(rates) == recipe.lr
    assert rates[-1] == pytest.approx(recipe.lr / 100)
    assert [recipe.steps_at(e) for e in (0, 10, 11, 12)] == [8, 8, 20, 20]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": "hinge"}, "unknown-loss: no loss of that name\n  where: recipe\n  needed: 'hinge'"),
        (
            {"optimizer": "sgd"},
            "unknown-optimizer: no optimizer of that name\n  where: recipe\n  needed: 'sgd'",
        ),
        (
            {"dataset": "cifar"},
            "unknown-dataset: no data set of that name\n  where: recipe\n  needed: 'cifar'",
        ),
        ({"encoding": "phase"}, "unknown-encoding: no input encoding of that name\n  where: encoding="),
    ],
)
def test_wrong_recipes_are_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        train(replace(RECIPES["stbp_scnn_smoke"], **change), tmp_path / "m.pt", log=quiet)
    assert str(caught.value).startswith(text)


def test_unknown_recipe_and_missing_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SnnhwError, match="unknown-recipe: no recipe of that name\n  where: recipe\n  needed: 'vgg'"):
        recipe_of("vgg")
    monkeypatch.setattr(datasets, "SHIPPED", tmp_path / "none.npz")
    with pytest.raises(SnnhwError, match="dataset-missing: the shipped example images are not there"):
        datasets.dataset_of("examples")


def test_bernoulli_is_strict_and_direct_is_a_view() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor([[0.0, 0.3, 1.0]])
    spikes = encode(x, "bernoulli", 2000, generator)
    assert spikes[:, 0, 0].sum() == 0
    assert spikes[:, 0, 2].sum() == 2000
    assert float(spikes[:, 0, 1].mean()) == pytest.approx(0.3, abs=0.05)
    direct = encode(x, "direct", 4, generator)
    assert direct.shape == (4, 1, 3)
    assert direct.stride(0) == 0


def test_augmentation_flips_and_shifts_whole_images() -> None:
    x = torch.zeros(512, 1, 5, 5)
    x[:, 0, 2, 1] = 1.0
    assert torch.equal(augment(x, False, 0, torch.Generator()), x)
    moved = augment(x, True, 1, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(512))
    places = {tuple(p[2:].tolist()) for p in moved.nonzero()}
    assert places == {(r, c) for r in (1, 2, 3) for c in (0, 1, 2, 3, 4)}


def test_a_state_of_right_keys_and_wrong_content(tmp_path: Path) -> None:
    """Each would train on with something else, or end in torch's own errors."""
    path = tmp_path / "m.pt"
    run("stbp_scnn_smoke", path, epochs=1)
    state = torch.load(tmp_path / "m.pt.resume", weights_only=True)
    key = next(k for k in state["model"] if k.endswith("weight"))
    group = state["optimizer"]["param_groups"][0]
    kept = state["optimizer"]["state"]
    odd = [{**group, "betas": "x"} for group in state["optimizer"]["param_groups"]]
    moments = {**kept, 0: {**kept[0], "exp_avg": torch.zeros(3)}}
    steps = [{**kept, 0: {**kept[0], "step": torch.tensor(step)}} for step in (1 + 1j, -3.0, 0.5, math.inf)]
    wrong: list[dict[str, Any]] = [
        {"model": None},
        {"model": {**state["model"], key: torch.zeros(2)}},
        {"model": {k: v for k, v in state["model"].items() if k != key}},
        {"model": {**state["model"], key: state["model"][key] * float("nan")}},
        {"optimizer": {}},
        {"optimizer": {**state["optimizer"], "param_groups": [group]}},
        {"optimizer": {**state["optimizer"], "state": {}}},
        {"optimizer": {**state["optimizer"], "state": moments}},
        {"optimizer": {**state["optimizer"], "param_groups": odd}},
        *({"optimizer": {**state["optimizer"], "state": wrong}} for wrong in steps),
        {"history": 3},
        {"history": [1]},
        {"history": state["history"] * 60},
        {"history": [{**row, "epoch": 2} for row in state["history"]]},
    ]  # fmt: skip
    for change in wrong:
        checkpoint.write(tmp_path / "m.pt.resume", {**state, **change})
        with pytest.raises(SnnhwError, match="bad-resume: the saved training state does not fit the network"):
            run("stbp_scnn_smoke", path, resume=True)
    checkpoint.write(tmp_path / "m.pt.resume", state)
    run("stbp_scnn_smoke", path, resume=True, epochs=1)
