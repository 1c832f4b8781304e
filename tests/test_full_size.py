"""SEW-ResNet-18 at its size in the paper, from a checkpoint with the authors' keys to bits on a chip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_sew_resnet_18_compiles_at_full_size(tmp_path: Path) -> None:
    answer = tmp_path / "row.json"
    words = ("--only", "SEW-ResNet-18", "--one", str(answer))
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "full_size.py"), *words], check=True, cwd=ROOT)
    row = json.loads(answer.read_text(encoding="utf-8"))
    assert row["architecture"] == "SEW ResNet-18"
    assert row["parameters"] == 11_689_512
    stem, stages = 64 * 112 * 112, ((64, 56), (128, 28), (256, 14), (512, 7))
    blocks = sum((4 if side == 56 else 5) * width * side * side for width, side in stages)
    assert row["neurons"]["neuron"] == stem + blocks
    assert row["neurons"]["gate"] == 64 * 56 * 56
    assert row["operators"] == {"Conv": 40, "Dense": 1}  # pools stay kernels: nothing became a sparse matrix
    assert [(check["status"], check["different"]) for check in row["checks"]] == [("equal", 0)] * 2
    assert row["quiet"] == row["unproven"] == row["never_fire"] == []
    assert 1 < row["chips"] <= 12
    assert row["peak_gib"] < 4
