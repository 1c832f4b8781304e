"""`FILE.py:NAME`: a module on the command line, which runs only where `--trust-code` allows it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import snnhw
from snnhw.artifact import load
from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from tests.unit.commands.line import snnhw as run

PROGRAM = """
import pathlib
import torch
from torch import nn
from beside import THRESHOLD

pathlib.Path(__file__).with_name("mark").touch()
print("loading")


class Lif(nn.Module):
    def forward(self, x):
        mem, out = torch.zeros_like(x[0]), []
        for now in x:
            mem = 0.8 * mem + now
            spike = (mem > THRESHOLD).float()
            mem = mem - THRESHOLD * spike
            out.append(spike)
        return torch.stack(out)


class Net(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.fc1, self.lif, self.fc2 = nn.Linear(8, hidden), Lif(), nn.Linear(hidden, 3)

    def forward(self, x):
        return self.fc2(self.lif(self.fc1(x))).mean(0)


class Sized(Net):
    def __init__(self, hidden):
        super().__init__(hidden)


def made():
    return Sized(4)


number = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("THRESHOLD = 0.5\n")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.random((6, 4, 8), np.float32))
    shapes = {"fc1.weight": (16, 8), "fc1.bias": (16,), "fc2.weight": (3, 16), "fc2.bias": (3,)}
    state = {key: torch.tensor(rng.normal(size=shape), dtype=torch.float32) for key, shape in shapes.items()}
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "w.pt")
    return tmp_path


def said(folder: Path) -> SourceOptions:
    return SourceOptions(example=str(folder / "x.npz"), trust_code=True)


def refused(path: Path | str, options: SourceOptions) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_source(path, options)
    return str(caught.value)


def test_a_module_is_compiled_and_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = ("net.py:Net", "--weights", "w.pt", "--example", "x.npz")
    done = run("compile", *given, "--target", "loihi2")
    assert done.code == 1
    assert "unsafe-code: the file is a program: reading the module runs it, and nothing was run" in done.err
    assert not (folder / "mark").exists()
    done = run("compile", *given, "--target", "loihi2", "--trust-code", "--json")
    assert done.code == 0, done.err
    assert "loading" not in done.out
    artifact = load(folder / "net.snnhw")
    assert artifact.source["trusted_code"]
    assert artifact.source["file"] == "net.py"
    weights = torch.load(folder / "w.pt")["module.fc2.weight"].numpy()
    assert any(x.shape == (3, 16) and np.allclose(x, weights) for x in artifact.reference.weights.values())
    x = np.random.default_rng(1).random((5, 6, 8), np.float32)
    options = replace(said(folder), weights="w.pt")
    assert snnhw.compare("net.py:Net", artifact, x, options=options).agreement > 0.5


def test_names(folder: Path) -> None:
    file, options = folder / "net.py", said(folder)
    assert load_source(f"{file}:made", options).deployment.input_shape == (8,)
    assert "needs-flag: nothing says which class of the file" in refused(file, options)
    assert "needs-flag: nothing says what its forward takes" in refused(f"{file}:Net", SourceOptions(trust_code=True))
    text = refused(f"{file}:number", options)
    assert "no-module: number is no torch module, and gives none" in text
    assert "limit: Lif, Net, Sized\n" in text
    text = refused(f"{file}:Sized", options)
    assert "code-failed: calling Sized() without arguments raised TypeError" in text
    (folder / "bad.py").write_text("1 / 0\n")
    assert "code-failed: running the file raised ZeroDivisionError" in refused(f"{folder}/bad.py:Net", options)
    assert "no-such-file" in refused(f"{folder}/none.py:Net", options)


def test_weights(folder: Path) -> None:
    file, options = folder / "net.py", said(folder)
    torch.save({"fc1.weight": torch.zeros(2, 2)}, folder / "other.pt")
    text = refused(f"{file}:Net", replace(options, weights=str(folder / "other.pt")))
    assert "weights-mismatch: the weights do not fit the module" in text
    assert "fc2.weight" in text
    text = refused(f"{file}:Net", replace(options, weights=str(folder / "none.pt")))
    assert "no-such-file: there is no such file" in text


def test_a_bare_state_dict_is_answered_with_ways_that_work(folder: Path) -> None:
    text = refused(folder / "w.pt", SourceOptions())
    assert "snnhw compile FILE.py:NAME --weights w.pt --example DATA.npz --trust-code" in text
    assert "net.load_state_dict(torch.load('w.pt')), snnhw.compile(net, example, target=...)" in text


WRITERS = [
    ("compile", "net.py:Net", "--target", "loihi2", "-o"),
    ("compile", "net.py:Net", "--target", "loihi2", "--emit-nir"),
    ("export", "net.py:Net", "--to", "nir", "-o"),
    ("why", "net.py:Net", "net.snnhw", "--data", "d.npz", "--fixed"),
    ("run", "net.py:Net", "--engine", "float", "--input", "d.npz", "-o"),
    ("compare", "net.py:Net", "net.snnhw", "--data", "d.npz", "--markdown"),
]


@pytest.mark.parametrize("words", WRITERS, ids=lambda words: f"{words[0]} {words[-1]}")
@pytest.mark.parametrize("name", ["net.py", "w.pt", "x.npz"])
def test_no_output_replaces_what_a_source_is_read_from(
    words: tuple[str, ...], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = (folder / name).read_bytes()
    done = run(*words, name, "--weights", "w.pt", "--example", "x.npz", "--trust-code")
    assert (done.code, (folder / name).read_bytes()) == (1, before)
    assert "would-replace: the output would replace an input or another output" in done.err


def test_a_sweep_measures_changed_weights_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    np.savez("d.npz", x=np.random.default_rng(1).random((5, 6, 8), np.float32))
    given = ("--weights", "w.pt", "--example", "x.npz", "--trust-code")
    words = ("sweep", "net.py:Net", *given, "--data", "d.npz", "--target", "loihi2", "-o", "out", "--json")
    first, again = run(*words), run(*words)
    assert first.code == 0, first.err
    assert again.json == first.json
    torch.save({key: value + 1 for key, value in torch.load("w.pt").items()}, "w.pt")
    changed = run(*words)
    assert changed.code == 0, changed.err
    assert changed.json[0]["artifact"] != first.json[0]["artifact"]
    (folder / "w.pt").unlink()
    assert "no-such-file: there is no such file\n  where: w.pt" in run(*words).err


def test_a_report_names_the_files_of_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = ("--weights", "w.pt", "--example", "x.npz", "--trust-code")
    np.savez("d.npz", x=np.random.default_rng(1).random((5, 6, 8), np.float32))
    assert run("compile", "net.py:Net", *given, "--target", "loihi2").code == 0
    said = run("compare", "net.py:Net", "net.snnhw", *given, "--data", "d.npz", "--json").json["provenance"]
    for key, name in (("source", "net.py"), ("weights", "w.pt"), ("example", "x.npz")):
        assert said[key] == f"{name} sha256 {hashlib.sha256((folder / name).read_bytes()).hexdigest()}"


def test_weights_without_pickle(folder: Path) -> None:
    """A .safetensors is read as --weights, and a bare one is answered with what reads it in Python."""
    from safetensors.torch import save_file

    save_file(torch.load(folder / "w.pt"), folder / "w.safetensors")
    options = replace(said(folder), weights=str(folder / "w.safetensors"))
    want = torch.load(folder / "w.pt")["module.fc2.weight"].numpy()
    nodes = load_source(f"{folder / 'net.py'}:Net", options).graph.nodes.values()
    assert any(np.array_equal(node.weight, want) for node in nodes if hasattr(node, "weight"))
    text = refused(folder / "w.safetensors", SourceOptions())
    assert "net.load_state_dict(safetensors.torch.load_file('w.safetensors'))" in text
