"""Reading published files without executing anything in them: formats, devices, hostile and damaged files."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.restricted import read_restricted
from tests.unit.frontends.official.files import imagenet_file, resnet, stbp


class Malicious:
    """Runs a shell command where everything is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


class Stranger:
    """A class that only its author's code knows."""


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_and_namespaces(zipped: bool, tmp_path: Path) -> None:
    torch.save(imagenet_file(resnet()), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    content = read_restricted(tmp_path / "net.pth")
    assert content["args"].T == 4
    assert content["args"].connect_f == "add"
    assert Namespace not in torch.serialization.get_safe_globals()  # allowed for that file alone


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_a_gpu(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storages tagged cuda:0, as the official `.t7`'s are."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(stbp(), tmp_path / "net.t7", _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    assert b"cuda:0" in (tmp_path / "net.t7").read_bytes()
    assert load_source(tmp_path / "net.t7").origin["architecture"] == "STBP SCNN"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["top", "args", "weights"])
def test_a_malicious_pickle_runs_nothing(place: str, zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    content = imagenet_file(resnet())
    if place == "top":
        content["extra"] = Malicious(marker)
    elif place == "args":
        content["args"] = Namespace(T=Malicious(marker))
    else:
        content["model"]["fc.bias"] = Malicious(marker)
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(SnnhwError) as caught:
        load_source(tmp_path / "net.pth")
    assert not marker.exists()
    assert caught.value.code == "unsafe-checkpoint"
    assert str(caught.value) == (
        "unsafe-checkpoint: the file holds more than numbers: unpickling it would run code, and nothing was run\n"
        "  where: net.pth\n  needed: posix.system\n"
        "  limit: a torch file of tensors, plain containers and argparse.Namespace\n"
        "  hint: where the file was made, save the numbers alone: torch.save(model.state_dict(), PATH); or, if you "
        "trust whoever made it, --trust-pickle, which runs code from the file with all your rights"
    )


def test_a_plain_pickle_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"model": Malicious(marker)}))
    with pytest.raises(SnnhwError, match="-checkpoint"):
        load_source(tmp_path / "net.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("thing", "name"), [(Stranger(), "Stranger"), (np.float64(3.0), "numpy"), (Path("x"), "pathlib")]
)
def test_what_is_no_plain_data_is_named(thing: Any, name: str, tmp_path: Path) -> None:
    torch.save({"model": resnet(), "extra": thing}, tmp_path / "net.pth")
    with pytest.raises(SnnhwError, match="unpickling it would run code, and nothing was run") as caught:
        load_source(tmp_path / "net.pth")
    assert name in str(caught.value.needed)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files(kept: float, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.t7"
    torch.save(stbp(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SnnhwError, match=r"bad-checkpoint: the checkpoint cannot be read \(\w+\)\n") as caught:
        load_source(path)
    assert caught.value.where == "net.t7"


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(stbp(), tmp_path / "net.t7")
    monkeypatch.setattr("snnhw.limits.MAX_BYTES", 1000)
    with pytest.raises(SnnhwError, match="too-big"):
        load_source(tmp_path / "net.t7")


def test_our_own_checkpoints_take_steps_and_encoding_only(examples: Path) -> None:
    source = load_source(examples / "stbp_scnn.pt", SourceOptions(steps=3, encoding="direct"))
    assert (source.deployment.steps, source.deployment.encoding) == (3, "direct")
    assert source.origin["flags"]["steps"] == {"value": 3, "from": "flag"}
    with pytest.raises(SnnhwError, match="unused-flag: a flag says something that this source does not ask") as caught:
        load_source(examples / "stbp_scnn.pt", SourceOptions(threshold=0.3))
    assert caught.value.needed == "--threshold"
