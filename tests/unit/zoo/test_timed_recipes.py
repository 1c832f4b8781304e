"""Recipes of temporal codes: the smoke versions train and resume, the shipped checkpoints still classify."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from snnhw.zoo import checkpoint
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.registry import RECIPES
from snnhw.zoo.train import train

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["spikeprop_xor_smoke", "spikeprop_iris_smoke", "relpsp_digits_smoke"])
def test_smoke_recipes_resume_bit_by_bit(name: str, tmp_path: Path) -> None:
    if RECIPES[name].dataset != "xor":
        pytest.importorskip("sklearn")
    whole = train(name, tmp_path / "whole.pt", log=lambda _: None)
    train(name, tmp_path / "half.pt", epochs=1, log=lambda _: None)
    resumed = train(name, tmp_path / "half.pt", resume=True, log=lambda _: None)
    assert resumed["history"] == whole["history"]
    assert whole["history"][1]["train_loss"] < whole["history"][0]["train_loss"]
    assert whole["deploy"]["readout"] == "first"
    for key, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][key]), key


@pytest.mark.parametrize(("name", "least"), [("spikeprop_xor", 1.0), ("spikeprop_iris", 0.96), ("relpsp_digits", 0.97)])
def test_shipped_checkpoints_classify(name: str, least: float) -> None:
    if RECIPES[name].dataset != "xor":
        pytest.importorskip("sklearn")
    model, content = checkpoint.load_model(EXAMPLES / f"{name}.pt")
    assert content["network"] == {"kind": RECIPES[name].kind, "config": RECIPES[name].config}
    data, deploy = dataset_of(RECIPES[name].dataset), content["deploy"]
    found = accuracy(
        model, data.x_test, data.y_test, encoding=deploy["encoding"], steps=deploy["steps"], readout=deploy["readout"]
    )
    assert found == content["metrics"]["test_accuracy"]
    assert found >= least
