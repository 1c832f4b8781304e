"""NIR files of other frameworks on the command line, and `snnhw export`."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import onnx
import pytest

from snnhw.frontends.nir.file import load_nir
from tests.unit.commands.line import Room, snnhw
from tests.unit.frontends.foreign import unpacked


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """snnTorch's own file, and its samples."""
    path, x, spikes = unpacked("snntorch", "mlp", tmp_path)
    path.rename(tmp_path / "net.nir")
    np.savez(tmp_path / "data.npz", x=x, want=spikes["3"])
    np.savez(tmp_path / "static.npz", x=x[:, 0])
    return Room(tmp_path)


def test_float_run_with_a_dialect(room: Room) -> None:
    words = ("run", room / "net.nir", "--engine", "float", "--input", room / "data.npz", "--record", "spikes")
    done = snnhw(*words, "--dialect", "snntorch", "-o", room / "out.npz", "--json")
    assert done.code == 0, done.err
    with np.load(room / "out.npz") as out, np.load(room / "data.npz") as data:
        assert np.array_equal(out["spikes/3"], data["want"])


def test_without_a_dialect_the_question_is_asked(room: Room) -> None:
    done = snnhw("compile", room / "net.nir", "--target", "loihi2", "--steps", 12)
    assert done.code == 1
    assert done.err.startswith("error: no-semantics: a NIR graph does not determine the spikes")
    assert "reset (zero, v_reset, subtract)" in done.err
    assert "its numbers are as snntorch" in done.err


def test_compile_check_and_compare_take_dialect_and_semantics(room: Room) -> None:
    (room / "s.json").write_text(json.dumps({"nodes": {"1": {"reset": "zero"}}}))
    said = ("--dialect", "SnnTorch", "--semantics", room / "s.json")
    words = ("--target", "loihi2", "--calibrate", room / "data.npz")
    done = snnhw(
        "compile", room / "net.nir", *words, *said, "-o", room / "net.snnhw", "--emit-nir", room / "emitted.nir"
    )
    assert done.code == 0, done.err
    assert "\ndialect      snntorch\n" in done.out
    assert "reset_delay=True" in done.out  # what was assumed
    found = snnhw("inspect", room / "net.snnhw", "--json").json
    assert found["dialect"] == "snntorch"
    assert found["source"]["flags"]["semantics"] == {"value": {"nodes": {"1": {"reset": "zero"}}}, "from": "flag"}
    assert found["semantics"]["nodes"]["1"]["reset"] == "zero"
    assert snnhw("check", room / "net.nir", *words, *said).code == 0
    of_source, of_artifact = (
        snnhw("explain", *given, "--population", "1", "--json").json
        for given in ((room / "net.nir", *words, *said), (room / "net.snnhw",))
    )
    assert of_source == of_artifact
    for wrong in (
        (room / "net.nir",),
        (room / "net.snnhw", "--target", "loihi2"),
        (room / "net.snnhw", "--set", "a=1"),
    ):
        assert snnhw("explain", *wrong).code == 2
    compared = snnhw("compare", room / "net.nir", room / "net.snnhw", "--data", room / "data.npz", "--json")
    assert compared.code == 0, compared.err  # the artifact remembers dialect and semantics
    assert load_nir(room / "emitted.nir").semantics.at("1").reset == "zero"
    nir.read(room / "emitted.nir")


def test_inline_semantics_and_their_errors(room: Room) -> None:
    words = ("run", room / "net.nir", "--engine", "float", "--input", room / "data.npz", "--dialect", "snntorch")
    assert snnhw(*words, "--semantics", '{"reset": "zero"}').code == 0
    done = snnhw(*words, "--semantics", '{"rest": 1}', "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "bad-semantics"
    assert done.json["error"]["needed"] == "rest"


def test_static_samples_do_not_say_how_many_steps(room: Room) -> None:
    words = ("run", room / "net.nir", "--engine", "float", "--input", room / "static.npz", "--dialect", "snntorch")
    done = snnhw(*words)
    assert done.code == 1
    assert "needs-flag: the file does not say how many steps a sample has" in done.err
    assert snnhw(*words, "--steps", 5, "--encode", "direct").code == 0


def test_export_from_one_framework_to_another(room: Room) -> None:
    words = ("export", room / "net.nir", "--dialect", "snntorch", "--semantics", '{"reset": "zero"}', "--steps", 12)
    done = snnhw(*words, "--to", "nir", "--for", "norse", "-o", room / "norse.nir", "--json")
    assert done.code == 0, done.err
    assert done.json["format"] == "nir"
    assert done.json["for"] == "norse"
    assert done.json["steps"] == 12
    assert load_nir(room / "norse.nir").semantics.reset == "zero"
    done = snnhw(*words, "--to", "nir", "--for", "sinabs", "-o", room / "sinabs.nir")
    assert done.code == 1
    assert "cannot-say: sinabs's importer cannot be told reset zero" in done.err
    assert "sinabs.nir" not in room.files


def test_export_of_an_artifact(stbp: Room, tmp_path: Path) -> None:
    done = snnhw("export", stbp / "net.snnhw", "--to", "nir", "-o", tmp_path / "q.nir")
    assert done.code == 0, done.err
    assert "network      quantised" in done.out
    nir.read(tmp_path / "q.nir")
    assert load_nir(tmp_path / "q.nir").deployment.steps == 4
    done = snnhw("export", stbp / "net.snnhw", "--to", "onnx", "-o", tmp_path / "q.onnx", "--json")
    assert done.code == 0, done.err
    onnx.checker.check_model(onnx.load(tmp_path / "q.onnx"))


def test_export_of_a_source(stbp: Room, tmp_path: Path) -> None:
    assert snnhw("export", stbp / "net.pt", "--to", "nir", "-o", tmp_path / "f.nir").code == 0
    assert set(load_nir(tmp_path / "f.nir").graph.nodes) == set(load_nir(stbp / "net.nir").graph.nodes)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--to", "onnx"), "--to onnx takes an artifact (.snnhw): compile the source first"),
        (("--to", "netx"), "--to netx takes an artifact (.snnhw): compile the source first"),
        (("--to", "netx", "--for", "norse"), "--for is for --to nir"),
        (("--to", "brian"), "Invalid value for '--to'"),
    ],
)
def test_wrong_use_of_export(words: tuple[str, ...], text: str, room: Room) -> None:
    done = snnhw("export", room / "net.nir", *words, "-o", room / "out.file")
    assert done.code == 2
    assert text in done.err


def test_export_refuses_flags_for_an_artifact_and_outputs_that_would_replace(stbp: Room, tmp_path: Path) -> None:
    done = snnhw("export", stbp / "net.snnhw", "--to", "nir", "-o", tmp_path / "q.nir", "--dialect", "nir")
    assert done.code == 2
    assert "--dialect: for a source, not for an artifact" in done.err
    done = snnhw("export", stbp / "net.nir", "--to", "nir", "-o", stbp / "net.nir")
    assert done.code == 1
    assert "would-replace" in done.err
    done = snnhw("export", stbp / "net.nir", "--to", "nir", "-o", tmp_path / "missing" / "q.nir")
    assert done.code == 1
    assert "cannot-write" in done.err
