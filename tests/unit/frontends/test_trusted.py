"""`--trust-pickle`: the only door through which code from a file runs, and only where it must."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnhw.artifact import load
from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.check import check_import
from snnhw.frontends.options import SourceOptions
from snnhw.semantics import from_metadata
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF, LIF
from tests.unit.commands.line import snnhw
from tests.unit.frontends.checkpoints import content
from tests.unit.frontends.official.files import imagenet_file, resnet

FLAGS = ("--steps", 4, "--input-shape", "5")
TRUST = SourceOptions(trust_pickle=True, steps=4, input_shape=(5,))


class Malicious:
    """Leaves a mark wherever it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(PerStep(nn.Linear(5, 6)), LIF(v_threshold=0.2), PerStep(nn.Linear(6, 3)), IF(v_threshold=0.2))


def refused(path: Path, options: SourceOptions) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_source(path, options)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", [None, "model", "net"])
def test_a_pickled_module(place: str | None, zipped: bool, tmp_path: Path) -> None:
    path, held = tmp_path / "net.pt", module()
    torch.save(held if place is None else {place: held, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    text = refused(path, SourceOptions(steps=4, input_shape=(5,)))
    assert text.startswith("unsafe-checkpoint: the file holds more than numbers: unpickling it would run code")
    assert "needed: torch.nn.modules.container.Sequential" in text
    assert "--trust-pickle" in text
    source = load_source(path, TRUST)
    assert source.origin["trusted_pickle"] is True
    assert source.origin["file"] == "net.pt"
    assert source.origin["flags"]["input_shape"] == {"value": [5], "from": "flag"}
    check = check_import(source, np.random.default_rng(0).random((2, 4, 5)))
    assert (check.samples, check.different) == (2, 0)


@pytest.mark.parametrize("trusted", [False, True])
def test_code_runs_only_where_it_is_trusted(trusted: bool, tmp_path: Path) -> None:
    """The same malicious file: nothing happens, or exactly what the flag says it does."""
    marker = tmp_path / "executed"
    torch.save({**imagenet_file(resnet()), "extra": Malicious(marker)}, tmp_path / "net.pth")
    words = ("check", tmp_path / "net.pth", "--target", "loihi2", "--json", *["--trust-pickle"] * trusted)
    done = snnhw(*words)
    assert marker.exists() is trusted
    assert done.code == 1
    assert done.json["error"]["code"] == ("needs-calibration" if trusted else "unsafe-checkpoint")


def test_a_file_of_numbers_is_read_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag allows; it does not ask: what the restricted reader can read, nothing else reads."""
    torch.save(content("stbp_scnn"), tmp_path / "net.pt")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("unpickled without need")

    monkeypatch.setattr("snnhw.frontends.trusted._unpickled", never)
    source = load_source(tmp_path / "net.pt", SourceOptions(trust_pickle=True))
    assert "trusted_pickle" not in source.origin


def test_damaged_files_are_not_unpickled(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"hello")
    assert refused(tmp_path / "net.pt", TRUST).startswith("bad-checkpoint: the checkpoint cannot be read")


@pytest.mark.parametrize(("options", "flag"), [({"input_shape": (5,)}, "--steps"), ({"steps": 4}, "--input-shape")])
def test_what_a_module_does_not_say_is_asked_for(options: dict[str, Any], flag: str, tmp_path: Path) -> None:
    torch.save(module(), tmp_path / "net.pt")
    text = refused(tmp_path / "net.pt", SourceOptions(trust_pickle=True, **options))
    assert text.startswith("needs-flag: the file holds a pickled Sequential, which does not say ")
    assert f"needed: {flag}" in text


def test_a_module_of_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that loops over its own T cannot be given another."""
    torch.save(module(), tmp_path / "net.pt")
    other = load_source(tmp_path / "net.pt", SourceOptions(trust_pickle=True, steps=7, input_shape=(5,)))
    monkeypatch.setattr("snnhw.frontends.trusted.load_module", lambda *_: other)
    assert refused(tmp_path / "net.pt", TRUST) == (
        "flag-contradicts: the pickled module does not take samples of this T and shape\n  where: net.pt\n"
        "  needed: --steps 4 --input-shape 5\n  limit: T = 7, shape 5\n"
        "  hint: give the T and the shape of one step of a sample that it was trained on"
    )


def test_what_the_reader_of_modules_refuses(tmp_path: Path) -> None:
    """An operation that is not known is named as for a live module."""
    torch.save(nn.Sequential(PerStep(nn.Linear(5, 4)), IF(), PerStep(nn.Softmax(dim=-1))), tmp_path / "net.pt")
    assert refused(tmp_path / "net.pt", TRUST).startswith("unknown-operation: the operation softmax in forward")


def test_readout_and_encoding_are_flags(tmp_path: Path) -> None:
    torch.save(nn.Sequential(PerStep(nn.Linear(5, 4)), IF(), PerStep(nn.Linear(4, 3))), tmp_path / "net.pt")
    assert load_source(tmp_path / "net.pt", TRUST).deployment.readout == "mean"
    direct = SourceOptions(trust_pickle=True, steps=4, input_shape=(5,), encoding="direct", readout="mean")
    source = load_source(tmp_path / "net.pt", direct)
    assert (source.deployment.encoding, source.deployment.readout) == ("direct", "mean")
    assert from_metadata(source.graph.metadata, "net.pt")[1] == source.deployment


def test_flags_of_checkpoints_mean_nothing_to_a_module(tmp_path: Path) -> None:
    torch.save(module(), tmp_path / "net.pt")
    text = refused(tmp_path / "net.pt", SourceOptions(trust_pickle=True, steps=4, input_shape=(5,), connect="ADD"))
    assert text.startswith("unused-flag: a flag says something that this source does not ask")
    assert "a pickled module takes --encoding, --input-shape, --readout, --steps, --trust-pickle" in text


def test_a_class_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets.py").write_text("from torch import nn\nclass Net(nn.Module): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import mynets  # type: ignore[import-not-found]

    torch.save(mynets.Net(), tmp_path / "net.pt")
    monkeypatch.undo()
    del sys.modules["mynets"]
    text = refused(tmp_path / "net.pt", TRUST)
    assert text.startswith(
        "missing-class: the file needs a class that cannot be imported here: No module named 'mynets'"
    )
    assert "hint: install the package that defines it, or put your own module's folder on PYTHONPATH" in text


def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    for options in (SourceOptions(), TRUST):
        text = refused(tmp_path / "net.pt", options)
        assert text.startswith("torchscript: the file is a TorchScript archive, a program and not a checkpoint")


def test_from_file_to_comparison(tmp_path: Path) -> None:
    """compile and compare; the door must be opened each time, an artifact does not remember it."""
    torch.save(module(), tmp_path / "net.pt")
    x = (np.random.default_rng(1).random((6, 4, 5)) < 0.5).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=x)
    words = ("compile", tmp_path / "net.pt", "--target", "loihi2", "-o", tmp_path / "a.snnhw", *FLAGS, "--json")
    assert snnhw(*words).json["error"]["code"] == "unsafe-checkpoint"
    done = snnhw(*words, "--trust-pickle")
    assert done.code == 0, done.err
    assert load(tmp_path / "a.snnhw").source["trusted_pickle"] is True
    words = ("compare", tmp_path / "net.pt", tmp_path / "a.snnhw", "--data", tmp_path / "d.npz", "--json")
    assert snnhw(*words).json["error"]["code"] == "unsafe-checkpoint"
    done = snnhw(*words, "--trust-pickle")
    assert done.code == 0, done.err
    assert done.json["samples"] == 6
    run = ("run", tmp_path / "net.pt", "--engine", "float", "--input", tmp_path / "d.npz", *FLAGS, "--trust-pickle")
    assert snnhw(*run).code == 0


def test_it_is_for_checkpoints(tmp_path: Path, examples: Path) -> None:
    text = refused(examples / "ann_cnn.onnx", SourceOptions(trust_pickle=True))
    assert text.startswith("unused-flag: ")
    assert "needed: --trust-pickle" in text
    assert "limit: an ONNX step or an ONNX file of a ReLU network takes " in text
    done = snnhw("check", tmp_path / "a.snnhw", "--trust-pickle")
    assert (done.code, "--trust-pickle: for a source, not for an artifact" in done.err) == (2, True)


def test_the_help_says_what_it_does() -> None:
    for command in ("compile", "check", "run", "compare"):
        said = " ".join(snnhw(command, "--help").out.split())
        assert "--trust-pickle" in said
        assert "this runs code from the file, with all your rights" in said
