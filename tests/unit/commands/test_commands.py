"""Every command once, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snnhw.artifact import load
from snnhw.cli import COMMANDS
from snnhw.frontends.checkpoint import import_module
from snnhw.frontends.nir.file import write_nir
from snnhw.machine import Machine
from snnhw.mapping import place
from snnhw.mapping.types import Mapping
from snnhw.network import IntNeuron, Network
from snnhw.network_text import format_network
from snnhw.semantics import Deployment
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.commands.line import Room, snnhw
from tests.unit.frontends.checkpoints import content, saved

COMPARE_KEYS = {
    *("float", "quantized", "agreement", "synops", "neuron_updates", "messages", "hops", "latency", "energy"),
    *("ann_baseline", "saturations", "engine", "target", "cores_used"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    done = snnhw(name, "--help")
    assert done.code == 0
    assert "Example:" in done.out
    assert f"  snnhw {name}" in done.out
    assert "--json" in done.out


def test_help_lists_every_command_without_importing_torch() -> None:
    code = "import sys; from snnhw.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


def test_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snnhw.cli", "inspect", "nowhere.snnhw", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "no-such-file"
    assert done.stderr == "error: no-such-file: there is no such file\n  where: nowhere.snnhw\n"


def test_compile_says_what_it_made(stbp: Room, tmp_path: Path) -> None:
    words = ("compile", stbp / "net.pt", "--target", "loihi1", "-o", tmp_path / "a.snnhw")
    found = snnhw(*words, "--json").json
    assert found["target"] == "loihi1"
    assert (found["populations"], found["projections"], found["steps"], found["pipeline_fill"]) == (4, 4, 4, 4)
    assert found["neurons"] == 2 * 64 + 3 * 16 + 5 + 4
    assert found["never_fire"] == "no population: each can reach its threshold"
    assert found["checks"][:2] == ["source = NIR: equal", "NIR = lowered: equal"]
    assert found["calibration"] == "4 samples, 3 used, 1 kept apart for checks"
    people = snnhw(*words)
    assert (people.code, people.err) == (0, "")
    assert "target       loihi1\n" in people.out


def test_the_same_input_gives_the_same_bytes(stbp: Room, tmp_path: Path) -> None:
    assert snnhw("compile", stbp / "net.pt", "--target", "loihi2", "-o", tmp_path / "again.snnhw").code == 0
    assert (tmp_path / "again.snnhw").read_bytes() == (stbp / "net.snnhw").read_bytes()


def test_a_compiled_nir_file_is_the_same_network(sew: Room, tmp_path: Path) -> None:
    done = snnhw("compile", sew / "net.nir", "--target", "loihi2", "-o", tmp_path / "a.snnhw", "--json")
    assert done.json["checks"] == ["source = NIR: skipped", "NIR = lowered: equal"]
    one, other = (
        snnhw("inspect", path, "--json").json["network"] for path in (sew / "net.snnhw", tmp_path / "a.snnhw")
    )
    structure = [[line.split(" du=")[0] for line in text] for text in (one, other)]
    assert structure[0] == structure[1]


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_run_and_diff(sew: Room, engine: str, tmp_path: Path) -> None:
    words = ("run", sew / "net.snnhw", "--input", sew / "data.npz", "--record", "state", "--json")
    done = snnhw(*words, "--engine", engine, "-o", tmp_path / "a.npz")
    assert done.json["samples"] == len(done.json["predictions"]) == 6
    assert 0 <= done.json["accuracy"] <= 1
    with np.load(tmp_path / "a.npz") as arrays:
        assert {"counts", "output", "predictions", "spikes/stem_if", "u/stem_if", "v/stem_if"} <= set(arrays)
        assert arrays["output"].shape == (6, 4, 4)
        assert arrays["saturations"] == done.json["saturations"] == 0
    snnhw(*words, "--engine", "fast", "-o", tmp_path / "b.npz")
    same = snnhw("diff", tmp_path / "a.npz", tmp_path / "b.npz", "--json")
    assert (same.code, same.json) == (0, {"identical": True, "difference": None})


def test_diff_of_different_runs_exits_1(sew: Room, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"spikes/n": np.zeros((2, 4, 3))})
    np.savez(tmp_path / "b.npz", **{"spikes/n": np.ones((2, 4, 3))})
    done = snnhw("diff", tmp_path / "a.npz", tmp_path / "b.npz", "--json")
    assert done.code == 1
    assert done.json["identical"] is False


def test_diff_of_networks(sew: Room) -> None:
    data = ("--data", sew / "data.npz", "--samples", 3)
    engines = ("--engine", "fast", "--engine", "reference")
    same = snnhw("diff", sew / "net.snnhw", sew / "net.snnhw", *data, *engines, "--record", "state", "--json")
    assert (same.code, same.json["identical"]) == (0, True)
    floats = snnhw("diff", sew / "net.pt", sew / "net.snnhw", *data, "--json")
    assert floats.code == (0 if floats.json["identical"] else 1)
    assert snnhw("diff", sew / "net.pt", sew / "net.nir", *data).out == "identical\n"
    lost = snnhw("diff", sew / "net.pt", sew / "net.snnhw")
    assert (lost.code, "--data is needed to run a source or an artifact" in lost.err) == (2, True)
    thrice = snnhw("diff", sew / "net.snnhw", sew / "net.snnhw", *data, *engines, "--engine", "fast")
    assert (thrice.code, "--engine: once for both artifacts, or once each" in thrice.err) == (2, True)


def test_run_in_floats(stbp: Room, tmp_path: Path) -> None:
    done = snnhw(
        *(
            "run",
            stbp / "net.pt",
            "--engine",
            "float",
            "--input",
            stbp / "data.npz",
            "--samples",
            2,
            "--record",
            "spikes",
        ),
        *("-o", tmp_path / "a.npz", "--json"),
    )
    assert done.json["samples"] == 2
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["spikes/lif1"].shape == (2, 4, 2, 8, 8)


def test_run_with_another_number_of_steps(stbp: Room, tmp_path: Path) -> None:
    """T of the run need not be T of training."""
    words = ("run", stbp / "net.snnhw", "--input", stbp / "data.npz", "--steps", 7, "-o", tmp_path / "a.npz", "--json")
    assert snnhw(*words).code == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["output"].shape == (6, 7, 4)


def test_compare_tries_other_targets_and_bits(sew: Room, tmp_path: Path) -> None:
    words = ["compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--samples", 2]
    found = snnhw(*words, "--what-if", "--calibrate", sew / "data.npz", "--json").json["what_if"]
    assert [row["point"]["target"] for row in found] == [
        "loihi2",
        "loihi2",
        "loihi2",
        "generic",
        "loihi1",
        "loihi1-davies",
    ]
    assert found[0]["refused"] is None
    for wrong in (["--what-if", "--shard", "1/1", "-o", tmp_path / "p"], ["--calibrate", sew / "data.npz"]):
        assert snnhw(*words, *wrong).code == 2


def test_compare_writes_metrics_of_neurobench(sew: Room, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    words = ["compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--neurobench", path, "--json"]
    done = snnhw(*words)
    assert done.code == 0, done.err
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["ClassificationAccuracy"] == done.json["float"]["accuracy"]
    state = torch.load(sew / "net.pt")["model"].values()
    assert found["Footprint"] == sum(tensor.numel() * tensor.element_size() for tensor in state)
    assert {tensor.dtype for tensor in state} <= {torch.float32, torch.int64}
    assert found["quantized"]["Footprint"] < found["Footprint"]
    assert found["SynapticOperations"]["Dense"] >= found["SynapticOperations"]["Effective_ACs"] > 0


def test_compare_has_the_agreed_keys(sew: Room, tmp_path: Path) -> None:
    report = tmp_path / "r.html"
    done = snnhw("compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--html", report, "--json")
    assert done.code == 0, done.err
    assert set(done.json) >= COMPARE_KEYS
    for side in ("float", "quantized"):
        assert 0 <= done.json[side]["accuracy"] <= 1
        assert {"name", "neurons", "spikes", "rate"} <= set(done.json[side]["layers"][0])
    assert report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")


def test_inspect_and_explain(sew: Room) -> None:
    found = snnhw("inspect", sew / "net.snnhw", "--json").json
    assert found["source"]["file"] == "net.pt"
    assert found["network"][0] == "network steps=4 readout=mean(output)"
    rows = snnhw("explain", sew / "net.snnhw", "--population", "stem_if", "--json").json["rationale"]
    assert {"vth", "dv", "scale"} <= {row["parameter"] for row in rows}
    assert {row["population"] for row in rows} == {"stem_if"}
    assert "stem_if" in snnhw("explain", sew / "net.snnhw").out
    assert "  core 0 (chip 0): " in snnhw("inspect", sew / "net.snnhw", "--cores").out


def test_populations_that_cannot_fire_are_named(tmp_path: Path) -> None:
    """A threshold that no input reaches within T is no error, but nothing to find out on the chip either."""
    parts = content("stbp_scnn")
    parts["model"] = {key: value * 0.0 if key.startswith("fc1") else value for key, value in parts["model"].items()}
    words = ("compile", saved(tmp_path / "net.pt", parts), "--target", "loihi2", "-o", tmp_path / "net.snnhw")
    assert snnhw(*words, "--json").json["never_fire"].startswith("lif3")
    said = snnhw("explain", tmp_path / "net.snnhw", "--population", "lif3").out
    assert "no input can make it fire within these steps" in said


def test_readout_and_population_of_any_source(tmp_path: Path) -> None:
    """Said when compiling, kept in the artifact, remembered when comparing."""
    net = saved(tmp_path / "net.pt", content("stbp_scnn"))
    x = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.array([0, 1, 0]))
    words = ("--target", "loihi2", "-o", tmp_path / "net.snnhw", "--readout", "rate[1:]", "--population", 2)
    done = snnhw("compile", net, *words, "--json")
    assert done.json["readout"] == "spike counts [1:], summed over 2 groups of 2 outputs"
    found = snnhw("run", tmp_path / "net.snnhw", "--input", tmp_path / "x.npz", "-o", tmp_path / "o.npz", "--json").json
    with np.load(tmp_path / "o.npz") as out:
        want = out["output"][:, 1:].reshape(3, -1, 2, 2).sum((1, 3))
        np.testing.assert_array_equal(out["scores"], want)
    assert (found["predictions"], found["scale"], found["warnings"]) == (want.argmax(1).tolist(), 1.0, [])
    tree = snnhw("compare", net, tmp_path / "net.snnhw", "--data", tmp_path / "x.npz", "--json").json
    assert tree["rule"] == "classes: the largest of 2, spike counts [1:], summed over 2 groups of 2 outputs"
    assert tree["quantized"]["accuracy"] == found["accuracy"]
    assert snnhw("compile", net, *words[:4], "--readout", "votes").code == 2
    assert "bad-population" in snnhw("compile", net, *words[:4], "--population", 3).err


def test_an_output_layer_that_never_fires_is_warned_of(tmp_path: Path) -> None:
    """By what the bounds prove, where nothing was run; the artifact holds it, so that every command can say it."""
    parts = content("stbp_scnn")
    parts["model"] = {key: value * 0.0 if key.startswith("fc2") else value for key, value in parts["model"].items()}
    words = (saved(tmp_path / "net.pt", parts), "--target", "loihi2")
    done = snnhw("compile", *words, "-o", tmp_path / "net.snnhw", "--json")
    (said,) = done.json["warnings"]
    assert (said["code"], said["where"], said["size"]) == (
        "silent-output",
        "lif4",
        "for every input, proven by its bounds",
    )
    assert snnhw("check", *words, "--json").json["warnings"] == [said]
    for command in ("inspect", "check"):
        assert snnhw(command, tmp_path / "net.snnhw", "--json").json["warnings"] == [said]
        assert (
            "WARNING silent-output: lif4: no neuron of the output layer fires"
            in snnhw(command, tmp_path / "net.snnhw").out
        )


@pytest.mark.parametrize("name", ["net.pt", "net.nir", "net.snnhw"])
def test_check(sew: Room, name: str) -> None:
    done = snnhw("check", sew / name, "--target", "loihi2", "--json")
    assert done.code == 0
    assert done.json["fits"] is True
    row = {"population", "resource", "needed", "limit", "margin", "grade", "slices", "fits"}
    assert all(row <= set(each) and each["margin"] == each["limit"] - each["needed"] for each in done.json["rows"])
    held = [each for core in done.json["cores"] for each in core["resources"].values()]
    assert all(each["margin"] == each["limit"] - each["used"] >= 0 for each in held)
    assert done.json["map"] == "balanced"
    takes = done.json["expected"]
    for key, ends in takes["band"].items():
        assert 0 < ends["low"] < takes[key] == ends["likely"] < ends["high"]
    assert "at half" in snnhw("check", sew / name, "--target", "loihi2", "--set", "core.in_axons=60").out


def test_a_trace_has_every_step(sew: Room, tmp_path: Path) -> None:
    words = ["compare", sew / "net.pt", sew / "net.snnhw", "--data", sew / "data.npz", "--samples", 3]
    done = snnhw(*words, "--trace", tmp_path / "t.npz", "--json")
    assert done.code == 0
    with np.load(tmp_path / "t.npz") as trace:
        assert set(trace) == {"model", "generation", "reception", "barrier", "core"}
        assert trace["model"].shape == (3, done.json["steps"])
        seconds = trace["model"].sum(axis=1).mean() / 1e12
    assert seconds == pytest.approx(done.json["throughput"]["seconds_per_sample"])
    assert snnhw(*words, "--trace", tmp_path / "u.npz", "--shard", "1/2", "-o", tmp_path / "p.npz").code == 2


def test_map_and_rates(sew: Room, tmp_path: Path) -> None:
    """More cores for a shorter step; the load that was placed for is said, and an artifact is placed anew with it."""
    found = {}
    for aim in ("fewest-cores", "balanced", "fastest"):
        words = ("--target", "loihi2", "--map", aim, "--rates", "0.3", "-o", tmp_path / f"{aim}.snnhw")
        found[aim] = snnhw("compile", sew / "net.pt", *words, "--json").json
        assert found[aim]["map"] == aim
        assert found[aim]["load"] == "stated: 0.3 events of a neuron in a step; every neuron is updated"
        again = snnhw("check", tmp_path / f"{aim}.snnhw", "--map", aim, "--json").json
        assert len(again["cores"]) == found[aim]["cores_used"]
    assert found["fewest-cores"]["cores_used"] < found["fastest"]["cores_used"]
    assert [end.partition(":")[0] for end in found["fastest"]["map_ends"]] == list(found)
    calibrated = snnhw("compile", sew / "net.pt", "--target", "loihi2", "--calibrate", sew / "data.npz", "-o",
                       tmp_path / "c.snnhw", "--json").json  # fmt: skip
    assert calibrated["load"].startswith("calibration: spikes of ")
    assert (
        snnhw("check", sew / "net.pt", "--target", "loihi2", "--rates", "2", "--json").json["error"]["code"]
        == "bad-rates"
    )


@pytest.mark.parametrize(
    "options", [(), ("--weight-bits", 4), ("--calibrate", "data.npz"), ("--sums", "relays"), ("--sums", "summands")]
)
def test_check_asks_about_the_network_that_compile_builds(
    options: tuple[object, ...], sew: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Network[IntNeuron]] = []

    def spy(network: Network[IntNeuron], chip: Machine, *said: Any) -> Mapping:
        asked.append(network)
        return placed(network, chip, *said)

    placed = place.place
    monkeypatch.setattr(place, "place", spy)
    words = [sew / "data.npz" if word == "data.npz" else word for word in options]
    assert snnhw("check", sew / "net.pt", "--target", "loihi2", *words).code == 0
    done = snnhw("compile", sew / "net.pt", "--target", "loihi2", *words, "-o", tmp_path / "a.snnhw")
    assert done.code == 0, done.err
    built = load(tmp_path / "a.snnhw").network
    assert format_network(asked[0]) == format_network(built)
    assert all(np.array_equal(asked[0].weights[name], w) for name, w in built.weights.items())


def test_check_with_hard_reset(tmp_path: Path) -> None:
    """loihi1 has no soft reset: refused as `compile` refuses it, or asked for."""
    module = nn.Sequential(PerStep(nn.Linear(3, 2)), IF(v_reset=None))
    write_nir(import_module(module, Deployment(2, "spikes", (3,), "rate")).graph, tmp_path / "net.nir")
    words = ("check", tmp_path / "net.nir", "--target", "loihi1", "--json")
    assert snnhw(*words).json["error"]["code"] == "unsupported-neuron"
    done = snnhw(*words, "--hard-reset")
    assert (done.code, done.json["fits"]) == (0, True)


def test_targets() -> None:
    names = [row["name"] for row in snnhw("targets", "--json").json]
    assert {"loihi1", "loihi2"} <= set(names)
    shown = snnhw("targets", "loihi2", "--json").json
    assert set(shown["core"]["neurons"]) == {"value", "unit", "grade", "source"}


def test_recipes_are_listed() -> None:
    assert {"stbp_scnn", "sew_resnet"} <= {row["recipe"] for row in snnhw("train", "--list", "--json").json}


WRONG_USE: list[tuple[list[str], str]] = [
    (["run", "net.snnhw", "--input", "d.npz", "--engine", "float"], "artifacts run in integer engines"),
    (["run", "net.pt", "--input", "d.npz"], "sources with --engine float"),
    (["run", "net.nir", "--input", "d.npz", "--engine", "lava"], "sources with --engine float"),
    (
        ["run", "net.pt", "--input", "d.npz", "--engine", "float", "--record", "state"],
        "--record state, --shard and --cluster are for",
    ),
    (["run", "net.snnhw", "--input", "d.npz", "--engine", "spice"], "Invalid value for '--engine'"),
    (["run", "net.snnhw"], "Missing option '--input'"),
    (["run", "net.snnhw", "--input", "d.npz", "--samples", "0"], "Invalid value for '--samples'"),
    (["compile", "net.pt"], "--target is needed for all stages but the first"),
    (["compile", "net.pt", "--stop-after", "placed"], "Invalid value for '--stop-after'"),
    (["compile", "net.pt", "--target", "loihi2", "--stop-after", "lowered", "-o", "a.snnhw"], "--output is for"),
    (["check", "net.pt"], "--target is needed for a source"),
    (["check", "a.snnhw", "--hard-reset"], "--hard-reset: for a source, not for"),
    (["check", "a.snnhw", "--sums", "relays"], "--sums: for a source, not for"),
    (["check", "a.snnhw", "--weight-bits", "4"], "--weight-bits: for a source, not for"),
    (["compare", "net.pt"], "Missing argument 'ARTIFACT'"),
    (["train"], "name a recipe, or give --list"),
    (["frobnicate"], "No such command 'frobnicate'"),
    (["inspect", "a.snnhw", "--colour"], "No such option"),
]


@pytest.mark.parametrize(("words", "text"), WRONG_USE)
def test_wrong_use_exits_2(words: list[str], text: str) -> None:
    done = snnhw(*words)
    assert done.code == 2
    assert text in done.err
    assert done.out == ""
