"""An exported file, run by the script of docs/onnx.md without snnhw, predicts what our engines do."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import snnhw
from snnhw.artifact import Artifact
from snnhw.data import load_samples
from snnhw.encoding import encode
from snnhw.engines.onnx.step import initial_state
from snnhw.export.onnx import onnx_model, write_onnx

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
IMAGES = EXAMPLES / "fashion_mnist_500.npz"


@cache
def compiled(name: str, target: str) -> Artifact:
    return snnhw.compile(EXAMPLES / f"{name}.pt", target=target)


def script() -> str:
    """The program of the documentation."""
    (found,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8"), re.DOTALL)
    return found


def test_the_script_needs_numpy_and_onnxruntime_only() -> None:
    tree = ast.parse(script())
    assert {n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)} == {
        "json",
        "sys",
        "numpy",
        "onnxruntime",
    }
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]


@pytest.mark.parametrize(
    ("name", "target"), [("sew_resnet", "loihi2"), ("sew_resnet", "loihi1"), ("spikeprop_iris", "loihi2")]
)
def test_plain_onnxruntime_predicts_the_same(name: str, target: str, tmp_path: Path) -> None:
    artifact = compiled(name, target)
    data = IMAGES
    if name != "sew_resnet":  # spikes over time, first-spike readout
        artifact = snnhw.api.with_input(artifact, "spikes", None, None)
        shape = (20, artifact.steps, *artifact.inputs[0].shape)
        spikes = np.random.default_rng(0).random(shape) < 0.3
        data = tmp_path / "spikes.npz"
        np.savez(data, x=spikes.astype(np.uint8))
    write_onnx(artifact, tmp_path / "net.onnx")
    (tmp_path / "run.py").write_text(script(), encoding="utf-8")
    line = [sys.executable, "-I", "run.py", "net.onnx", str(data)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=True)
    expected = snnhw.run(artifact, load_samples(data).first(20).x)["predictions"]
    assert [int(p) for p in done.stdout.split()] == list(expected)
    assert len(set(expected)) > 1


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_exported_file_gives_the_recorded_bits(target: str) -> None:
    """Spikes, u and v of every population at every step; on loihi1 the host's layer is inside the graph."""
    artifact = compiled("sew_resnet", target)
    model = onnx_model(artifact)
    onnx.checker.check_model(model, full_check=True)
    said = json.loads(model.metadata_props[0].value)
    assert (said["encodings"][0]["encoding"], said["target"]) == ("direct", target)
    x = load_samples(IMAGES).first(3).x
    want = snnhw.run(artifact, x, record="state")
    plain = replace(artifact.inputs[0], host=None)
    values = encode(x, (plain,), artifact.steps)[plain.population].astype(np.int64)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    state = {row["input"]: initial_state(row, len(x)) for row in said["state"]}
    for t in range(said["steps"]):
        feeds = {said["inputs"][0]["name"]: values[:, t], **state}
        found = dict(zip(names, session.run(None, feeds), strict=True))
        state = {row["input"]: found[row["output"]] for row in said["state"]}
        for name, array in found.items():
            if name in want:
                np.testing.assert_array_equal(array, want[name][:, t], err_msg=name)
    assert len(set(found) & set(want)) > 20


def test_the_same_artifact_gives_the_same_bytes(tmp_path: Path) -> None:
    artifact = compiled("sew_resnet", "loihi2")
    for name in "ab":
        write_onnx(artifact, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
