"""The shipped data files and the script that makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snnhw.zoo.checkpoint import load_model
from snnhw.zoo.data import PACKAGE_FOLDER
from snnhw.zoo.evaluate import accuracy

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["stbp_scnn", "sew_resnet", "sew_and", "sew_iand", "spiking_resnet"])
def test_shipped_checkpoints_classify_the_shipped_images(name: str) -> None:
    path = EXAMPLES / f"{name}.pt"
    model, content = load_model(path)
    assert content["recipe"] == name
    assert path.stat().st_size < 1_500_000
    deploy = content["deploy"]
    with np.load(EXAMPLES / "fashion_mnist_500.npz") as file:
        x, y = torch.tensor(file["x"]), torch.tensor(file["y"])
    found = accuracy(model, x, y, encoding=deploy["encoding"], steps=deploy["steps"])
    assert found > 0.8


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "fashion_mnist.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES.parent, check=False)


@pytest.mark.parametrize(("name", "samples"), [("fashion_mnist_500", 500), ("fashion_mnist_calibration", 256)])
def test_shipped_images_are_balanced(name: str, samples: int) -> None:
    with np.load(EXAMPLES / f"{name}.npz") as file:
        x, y = file["x"], file["y"]
    assert x.shape == (samples, 1, 28, 28)
    assert x.dtype == np.uint8
    assert y.dtype == np.int64
    assert set(np.bincount(y).tolist()) <= {samples // 10, samples // 10 + 1}


@pytest.mark.skipif(not PACKAGE_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_script_makes_the_shipped_file(tmp_path: Path) -> None:
    out = tmp_path / "made.npz"
    done = script("--split", "test", "--samples", "500", "--out", str(out))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with np.load(out) as made, np.load(EXAMPLES / "fashion_mnist_500.npz") as shipped:
        assert np.array_equal(made["x"], shipped["x"])
        assert np.array_equal(made["y"], shipped["y"])


def test_the_script_refuses_clearly(tmp_path: Path) -> None:
    missing = script("--out", str(tmp_path / "o.npz"), "--folder", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert missing.stderr.startswith("dataset-missing: Fashion-MNIST cannot be read: the folder does not exist")
    assert "apt-get install dataset-fashion-mnist" in missing.stderr
    assert script("--out", "o.npz", "--url", "file:///none").returncode == 2
