"""Flags for published checkpoints on the command line: compile, check, run and compare, from one file to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snnhw import api
from snnhw.artifact import load
from snnhw.commands.source_options import _FLAGS
from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.options import _FORMS, SourceOptions
from tests.unit.commands.line import Room, snnhw
from tests.unit.frontends.official.files import imagenet_file, resnet, tdbn_resnet

TDBN = ("--threshold", 0.2, "--steps", 2, "--input-shape", "3,8,8")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A clone's checkpoint, its artifact, and images."""
    path = tmp_path_factory.mktemp("official")
    torch.save(tdbn_resnet(), path / "clone.pth")
    rng = np.random.default_rng(0)
    np.savez(path / "data.npz", x=rng.standard_normal((6, 3, 8, 8)), y=rng.integers(0, 10, 6))
    words = ("compile", path / "clone.pth", "--target", "loihi2", "--calibrate", path / "data.npz")
    done = snnhw(*words, *TDBN, "-o", path / "clone.snnhw")
    assert done.code == 0, done.err
    return Room(path)


def test_compile_says_what_it_assumed(room: Room) -> None:
    found = snnhw("inspect", room / "clone.snnhw", "--json").json
    assert found["assumed"].startswith("alpha 0.7071067811865475 (STBP-simple: 1/sqrt(2) on both branches")
    assert "decay 0.25, encoding direct, readout rate (STBP-simple)" in found["assumed"]
    assert found["source"]["architecture"] == "tdBN ResNet-7"
    assert found["source"]["flags"]["threshold"] == {"value": 0.2, "from": "flag"}
    assert found["source"]["flags"]["input_shape"] == {"value": [3, 8, 8], "from": "flag"}


def test_compile_asks_for_the_flag_it_needs(room: Room, tmp_path: Path) -> None:
    done = snnhw("compile", room / "clone.pth", "--target", "loihi2", "--steps", 2, "-o", tmp_path / "a.snnhw")
    assert done.code == 1
    assert done.err.startswith("error: needs-flag: the file does not say Vth")
    assert "hint: give --threshold (in Python: options=snnhw.SourceOptions(threshold=...))" in done.err


def test_compare_needs_no_flag_again(room: Room) -> None:
    done = snnhw("compare", room / "clone.pth", room / "clone.snnhw", "--data", room / "data.npz", "--json")
    assert done.code == 0, done.err
    assert done.json["agreement"] >= 0.5
    assert {layer["name"] for layer in done.json["quantized"]["layers"]} > {"stem_lif", "head.1", "head.3"}


def test_compare_with_another_threshold_is_another_network(room: Room) -> None:
    words = ("compare", room / "clone.pth", room / "clone.snnhw", "--data", room / "data.npz", "--threshold", 0.3)
    done = snnhw(*words)
    assert (done.code, done.err.split(":")[1].strip()) == (1, "different-networks")


def test_run_float(room: Room, tmp_path: Path) -> None:
    """--steps of `run` answers T; the same spikes as the imported module's."""
    words = ("run", room / "clone.pth", "--engine", "float", "--input", room / "data.npz", *TDBN)
    done = snnhw(*words, "--record", "spikes", "-o", tmp_path / "out.npz")
    assert done.code == 0, done.err
    arrays = np.load(tmp_path / "out.npz")
    source = load_source(room / "clone.pth", SourceOptions(threshold=0.2, steps=2, input_shape=(3, 8, 8)))
    x = torch.from_numpy(np.load(room / "data.npz")["x"])
    assert source.module is not None
    with torch.no_grad():
        expected = source.module(x.expand(2, *x.shape)).transpose(0, 1)
    assert np.array_equal(arrays["output"], expected.numpy())
    assert snnhw(*words[:-4], "--engine", "float").code == 1  # no --steps, no --input-shape


def test_check(room: Room) -> None:
    words = ("check", room / "clone.pth", "--target", "loihi2", "--calibrate", room / "data.npz", *TDBN, "--json")
    assert snnhw(*words).json["fits"] is True


def test_flags_are_for_sources(room: Room) -> None:
    for words in (("check", room / "clone.snnhw"), ("run", room / "clone.snnhw", "--input", room / "data.npz")):
        done = snnhw(*words, "--threshold", 0.2)
        assert done.code == 2
        assert "--threshold: for a source, not for an artifact" in done.err


@pytest.mark.parametrize("shape", ["3,8,1,1", "3,8,x", "3,0,8", ""])
def test_a_shape_that_is_none(shape: str, room: Room) -> None:
    done = snnhw("compile", room / "clone.pth", "--target", "loihi2", "--input-shape", shape)
    assert done.code == 2
    assert "is not whole numbers C,H,W (or C,L, or N)" in done.err


def test_unused_flags_are_refused(room: Room, stbp: Room, tmp_path: Path) -> None:
    words = ("--target", "loihi2", "-o", tmp_path / "a.snnhw")
    done = snnhw("compile", room / "clone.pth", *words, *TDBN, "--connect", "ADD")
    assert done.err.startswith("error: unused-flag: a flag says something that this source does not ask")
    done = snnhw("compile", stbp / "net.nir", *words, "--threshold", 0.2)
    assert (done.code, "needed: --threshold" in done.err) == (1, True)
    with pytest.raises(SnnhwError, match="unused-flag"):
        api.compile(load_source(stbp / "net.pt"), target="loihi2", options=SourceOptions(steps=2))
    with pytest.raises(SnnhwError, match="unused-flag"):
        api.compile(torch.nn.Identity(), target="loihi2", options=SourceOptions(steps=2))


@pytest.mark.parametrize("name", ["net.pt", "net.nir"])
def test_other_steps_of_a_source_that_says_itself(name: str, stbp: Room, tmp_path: Path) -> None:
    words = ("compile", stbp / name, "--target", "loihi2", "--steps", 7, "-o", tmp_path / "a.snnhw")
    done = snnhw(*words, "--emit-nir", tmp_path / "a.nir")
    assert done.code == 0, done.err
    assert load(tmp_path / "a.snnhw").steps == 7
    assert load_source(tmp_path / "a.nir").deployment.steps == 7
    done = snnhw("compare", stbp / name, tmp_path / "a.snnhw", "--data", stbp / "data.npz", "--json")
    assert done.code == 0, done.err


def test_sew_resnet_of_the_authors_layout(tmp_path: Path) -> None:
    """From the authors' file to integers; both operand orders and the max-pool of the stem on the way."""
    torch.save(imagenet_file(resnet("old"), T=2), tmp_path / "sew18.pth")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).standard_normal((4, 3, 32, 32)))
    words = ("compile", tmp_path / "sew18.pth", "--target", "loihi2", "--calibrate", tmp_path / "data.npz")
    done = snnhw(*words, "--input-shape", "3,32,32", "-o", tmp_path / "a.snnhw", "--json")
    assert done.code == 0, done.err
    assert done.json["checks"][:2] == ["source = NIR: equal", "NIR = lowered: equal"]
    words = ("compare", tmp_path / "sew18.pth", tmp_path / "a.snnhw", "--data", tmp_path / "data.npz", "--json")
    done = snnhw(*words)
    assert done.code == 0, done.err
    assert done.json["quantized"]["layers"][0]["spikes"] > 0


def test_the_command_line_has_every_option() -> None:
    of_code = {"example", "weights"}  # files that FILE.py:NAME asks for
    assert [name for name in _FLAGS if name not in of_code] == list(_FORMS)
    for name, (kind, _) in _FLAGS.items():
        if hasattr(kind, "choices"):
            assert ", ".join(kind.choices) == _FORMS[name][1]
