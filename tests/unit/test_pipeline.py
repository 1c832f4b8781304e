"""The one pipeline: stages in order, each made once and checked; listed, stopped after and dumped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnhw as package
from snnhw.artifact import to_bytes
from snnhw.errors import LoweringError, SnnhwError, SourceError, TargetError
from snnhw.frontends import load_source
from snnhw.frontends.nir.file import load_nir
from snnhw.network_text import format_network
from snnhw.pipeline import Options, Pipeline
from snnhw.stages import STAGES
from tests.unit.commands.line import Done, snnhw
from tests.unit.frontends.checkpoints import content, saved

TINY = Path(__file__).parent / "frontends" / "netx" / "tinynet" / "tiny.net"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("pipeline") / "net.pt", content("stbp_scnn"))


def test_stages_are_made_once_in_order_and_only_when_asked_for(net: Path) -> None:
    told: list[str] = []
    pipeline = Pipeline(net, "loihi2", progress=told.append)
    assert told == []
    assert pipeline.at("lowered") is pipeline.lowered
    assert told == ["import", "lower", "check"]
    assert [pipeline.at(stage) is pipeline.at(stage) for stage in STAGES] == [True] * 4
    assert told == ["import", "lower", "check", "quantise", "check", "map"]
    assert to_bytes(pipeline.mapped) == to_bytes(package.compile(net, target="loihi2"))


def test_a_stage_that_differs_from_its_source_is_refused_before_integers_are_made(net: Path) -> None:
    source = load_source(net)
    fake = next(node for node in source.graph.nodes.values() if hasattr(node, "v_threshold"))
    fake.v_threshold = fake.v_threshold * 0.5
    pipeline = Pipeline(source, "loihi2")
    assert pipeline.at("imported") is source
    for stage in ("lowered", "quantised", "mapped"):
        with pytest.raises(LoweringError, match="not-equal"):
            pipeline.at(stage)


def test_the_first_stage_needs_no_target(net: Path) -> None:
    pipeline = Pipeline(net)
    assert pipeline.imported.deployment.steps == 4
    with pytest.raises(TargetError) as caught:
        pipeline.at("lowered")
    assert str(caught.value) == (
        "needs-target: no target is named, and delays and sums depend on it\n"
        "  where: lowered\n  hint: name a target: see snnhw targets"
    )


def test_arguments_of_live_modules_are_refused_for_files(net: Path) -> None:
    with pytest.raises(SourceError) as caught:
        package.compile(net, np.zeros((1, 4)), target="loihi2", steps=3)
    assert str(caught.value).startswith(
        "unused-argument: an argument says something that only a live module asks\n"
        f"  where: {net}\n  needed: example_input, steps\n"
    )


@pytest.mark.parametrize(
    "words",
    [("--weight-bits", 4), ("--hard-reset",), ("--sums", "relays"), ("--readout", "mean"), ("--steps", 5)],
)
def test_check_refuses_integers_as_compile_does(words: tuple[object, ...], tmp_path: Path) -> None:
    said = (TINY, "--target", "loihi1", *(() if "--steps" in words else ("--steps", 5)), *words)
    compiled, checked = snnhw("compile", *said, "-o", tmp_path / "a.snnhw"), snnhw("check", *said)
    assert (compiled.code, compiled.err) == (checked.code, checked.err)
    assert checked.code == (0 if "--steps" in words else 1)


@pytest.mark.parametrize(
    "words",
    [("--weight-bits", 9), ("--readout", "mean"), ("--calibrate", "none.npz"), ("--target", "loihi3"), ("--steps", 0)],
)
def test_check_refuses_floats_as_compile_does(words: tuple[object, ...], net: Path, tmp_path: Path) -> None:
    said = (net, *(() if "--target" in words else ("--target", "loihi2")), *words)
    compiled, checked = snnhw("compile", *said, "-o", tmp_path / "a.snnhw"), snnhw("check", *said)
    assert compiled.err.replace("snnhw compile", "snnhw check") == checked.err
    assert compiled.code == checked.code != 0


def test_stages_are_listed() -> None:
    listed = snnhw("compile", "--stages")
    assert (listed.code, [line.split()[0] for line in listed.out.splitlines()]) == (0, list(STAGES))


def compiled(*words: object) -> Done:
    done = snnhw("compile", *words, "--json")
    assert done.code == 0, done.err
    return done


def test_dumps_are_what_the_stages_made(net: Path, tmp_path: Path) -> None:
    words = ("--dump", tmp_path / "d", "--emit-nir", tmp_path / "n.nir", "-o", tmp_path / "a.snnhw")
    done, pipeline = compiled(net, "--target", "loihi2", *words), Pipeline(net, "loihi2")
    names = [f"{stage}.{kind}" for stage, kind in zip(STAGES, ("nir", "npz", "npz", "snnhw"), strict=True)]
    assert done.json["dump"] == [str(tmp_path / "d" / f) for n in names for f in (n.split(".")[0] + ".txt", n)]
    assert load_nir(tmp_path / "d" / "imported.nir").graph.edges == load_nir(tmp_path / "n.nir").graph.edges
    assert (tmp_path / "d" / "mapped.snnhw").read_bytes() == (tmp_path / "a.snnhw").read_bytes()
    assert "  Conv2d      " in (tmp_path / "d" / "imported.txt").read_text()
    assert "  core 0 (chip 0) " in (tmp_path / "d" / "mapped.txt").read_text()
    for stage, network in (("lowered", pipeline.lowered), ("quantised", pipeline.quantised.network)):
        assert (tmp_path / "d" / f"{stage}.txt").read_text() == format_network(network)  # type: ignore[arg-type]
        with np.load(tmp_path / "d" / f"{stage}.npz") as arrays:
            for name, weights in network.weights.items():
                np.testing.assert_array_equal(arrays[f"weights/{name}"], weights)
    first: Any = pipeline.quantised.network.computed[0]
    with np.load(tmp_path / "d" / "quantised.npz") as arrays:
        np.testing.assert_array_equal(arrays[f"{first.name}/vth"], first.model.vth)


def test_stopping_writes_no_later_stage_and_no_artifact(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = compiled(net, "--target", "loihi2", "--stop-after", "lowered", "--dump", "d")
    assert done.json == {"stage": "lowered", "dump": [f"d/{n}" for n in sorted_names()]}
    assert compiled(net, "--stop-after", "imported", "--emit-nir", "n.nir").json == {"stage": "imported"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "n.nir"]


def sorted_names() -> list[str]:
    return ["imported.txt", "imported.nir", "lowered.txt", "lowered.npz"]


def test_a_refusal_leaves_the_dumps_of_what_was_made(net: Path, tmp_path: Path) -> None:
    words = ("--target", "loihi2", "--weight-bits", 9, "-o", tmp_path / "a.snnhw", "--dump", tmp_path / "d")
    assert "bad-weight-bits" in snnhw("compile", net, *words).err
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == sorted(sorted_names())


def test_integers_of_a_file_are_the_same_pipeline(tmp_path: Path) -> None:
    done = compiled(TINY, "--target", "loihi1", "--steps", 5, "--dump", tmp_path / "d", "-o", tmp_path / "a.snnhw")
    assert [Path(path).name for path in done.json["dump"]][:2] == ["imported.txt", "imported.npz"]
    with np.load(tmp_path / "d" / "imported.npz") as arrays:
        assert arrays.files


def test_dumping_into_a_file_is_refused(net: Path, tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    done = snnhw("compile", net, "--stop-after", "imported", "--dump", tmp_path / "d")
    assert "cannot-write: the output cannot be written" in done.err
    assert (tmp_path / "d").read_text() == "mine"


def test_sources_that_were_read_already_take_no_options(net: Path) -> None:
    source = replace(load_source(net), calibration=None)
    with pytest.raises(SnnhwError, match="unused-flag"):
        Pipeline(source, "loihi2", Options(source=package.SourceOptions(steps=3))).at("imported")
