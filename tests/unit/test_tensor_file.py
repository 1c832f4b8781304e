"""Checkpoints as .safetensors: the same network as from .pt, the same bytes for the same content, no code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from snnhw import tensor_file
from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends import load_source
from snnhw.zoo import checkpoint
from snnhw.zoo.train import train
from tests.unit.commands.line import snnhw
from tests.unit.frontends.checkpoints import content
from tests.unit.frontends.official.files import stbp


def test_a_checkpoint_is_the_same_in_both_forms(tmp_path: Path) -> None:
    said = content("sew_resnet") | {"calibration": {"x": torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)}}
    for name in ("a.pt", "a.safetensors", "b.safetensors"):
        checkpoint.write(tmp_path / name, said)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    pickled, plain = (checkpoint.read(tmp_path / name) for name in ("a.pt", "a.safetensors"))
    assert pickled.keys() == plain.keys()
    for key in said:
        if key in ("model", "calibration"):
            assert all(torch.equal(value, plain[key][name]) for name, value in said[key].items())
        else:
            assert pickled[key] == plain[key]
    assert set(load_file(tmp_path / "a.safetensors")) == {*said["model"], "snnhw.calibration.x"}
    one, other = (load_source(tmp_path / name) for name in ("a.pt", "a.safetensors"))
    assert sorted(one.graph.nodes) == sorted(other.graph.nodes)
    assert one.deployment == other.deployment


def test_published_weights(tmp_path: Path) -> None:
    flat = {
        f"{k}.{n}" if isinstance(v, dict) else k: t
        for k, v in stbp().items()
        if isinstance(v, dict)
        for n, t in v.items()
    }
    save_file(flat, tmp_path / "net.safetensors")
    assert tensor_file.read(tmp_path / "net.safetensors").keys() == flat.keys()


def test_training_writes_it_and_tells_a_logger(tmp_path: Path) -> None:
    path, told = tmp_path / "net.safetensors", list[tuple[int, dict[str, float]]]()
    train("stbp_scnn_smoke", path, epochs=1, log=lambda _: None, logger=lambda m, /, *, step: told.append((step, m)))
    assert checkpoint.load_model(path)[1]["epoch"] == 1
    ((step, metrics),) = told
    assert step == 1
    assert {"train_loss", "train_accuracy", "test_probe", "lr", "seconds"} <= metrics.keys()
    assert all(isinstance(value, float) for value in metrics.values())


def test_damage_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      more")
    with pytest.raises(SourceError, match="the checkpoint cannot be read") as caught:
        load_source(path)
    assert caught.value.code == "bad-checkpoint"
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(
        SnnhwError, match=r"reading \.safetensors files needs packages of the extra 'safetensors'"
    ) as lost:
        load_source(path)
    assert lost.value.code == "needs-extra"
    with pytest.raises(SnnhwError, match="files needs packages of the extra 'safetensors'"):
        tensor_file.saved({})
    assert "needs-extra" in snnhw("train", "stbp_scnn_smoke", "-o", tmp_path / "t.safetensors").err
