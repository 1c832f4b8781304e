"""The whole tool on one page: a network, two chips, what is in the artifact, four runs, one comparison, one refusal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import snnhw
from snnhw.engines.lava.compat import lava_status
from snnhw.errors import SnnhwError
from snnhw.zoo.checkpoint import FORMAT, VERSION, write
from snnhw.zoo.registry import build
from tests.unit.commands.line import snnhw as command

CONFIG = {"channels": [2, 4], "blocks": [2, 1], "image_size": 8, "classes": 4}
DEPLOY = {"steps": 4, "encoding": "direct", "readout": "mean", "input_shape": [1, 8, 8], "preprocessing": "uint8/255"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network (SEW, g = ADD) with random weights as `snnhw train` would save it, images and labels."""
    folder = tmp_path_factory.mktemp("tour")
    torch.manual_seed(0)
    module = build("sew_resnet", CONFIG)
    for name, parameter in module.named_parameters():
        if name.endswith("bn.bias"):
            torch.nn.init.uniform_(parameter, 0.1, 0.5)  # or an untrained network would stay silent
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 1, 8, 8)).astype(np.uint8), rng.integers(0, 4, 8)
    network = {"kind": "sew_resnet", "config": CONFIG}
    content = {"format": FORMAT, "version": VERSION, "network": network, "model": module.state_dict(), "deploy": DEPLOY}
    write(folder / "net.pt", content | {"calibration": {"x": torch.from_numpy(images)}})
    np.savez(folder / "data.npz", x=images, y=labels)
    for chip in ("loihi1", "loihi2"):
        snnhw.save(snnhw.compile(folder / "net.pt", target=chip), folder / f"{chip}.snnhw")
    return folder


def images(room: Path) -> np.ndarray:  # type: ignore[type-arg]
    with np.load(room / "data.npz") as data:
        return data["x"]  # type: ignore[no-any-return]


def test_compiling_finds_the_residual_structure(room: Path) -> None:
    """A block's sum reaches its readers as one projection per summand; the skip waits as long as the branch takes."""
    network = snnhw.load(room / "loihi2.snnhw").network
    into = {p.pre: (p.delay, p.op) for p in network.into("stages.0.1.if1")}
    assert {name: delay for name, (delay, _) in into.items()} == {"stem_if": 3, "stages.0.0.if2": 1}
    assert len({op for _, op in into.values()}) == 1, "weights are stored once"


def test_every_stage_was_checked_spike_for_spike(room: Path) -> None:
    checks = snnhw.load(room / "loihi2.snnhw").checks
    assert [(c["stage"], c["status"]) for c in checks[:2]] == [("source = NIR", "equal"), ("NIR = lowered", "equal")]


def test_every_integer_is_explained(room: Path) -> None:
    text = command("explain", room / "loihi1.snnhw", "--population", "stages.0.0.if1").out
    assert "  vth = " in text
    assert "exact" in text, "the trained >= is expressed by Lava's >"
    assert "  range: u (" in text
    assert text.endswith(": proven\n")


def test_cores_and_limits_are_shown(room: Path) -> None:
    text = command("inspect", room / "loihi2.snnhw", "--cores").out
    assert "  neuron      stem_if 2x8x8 start=1 " in text
    assert re.search(r"^  core \d+ \(chip 0\): stem_if: .*neurons \d+/8192", text, re.MULTILINE)


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_two_engines_give_the_same_bits(room: Path, chip: str) -> None:
    """`reference` steps the chip; `fast` knows no delays at all. Spikes, u and v are equal in every population."""
    runs = [snnhw.run(room / f"{chip}.snnhw", images(room), engine, record="state") for engine in ("fast", "reference")]
    assert runs[0].keys() == runs[1].keys()
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])
    hidden = [name for name in runs[0] if name.startswith("spikes/") and name != "spikes/output"]
    assert all(runs[0][name].any() for name in hidden), "silence proves nothing"


@pytest.mark.lava
@pytest.mark.skipif(not lava_status()[0], reason="lava is not installed")
def test_lava_gives_the_same_bits(room: Path) -> None:
    words = ("--input", room / "data.npz", "--samples", 2, "--record", "state", "-o")
    for engine in ("fast", "lava"):
        assert command("run", room / "loihi2.snnhw", "--engine", engine, *words, room / f"{engine}.npz").code == 0
    assert command("diff", room / "fast.npz", room / "lava.npz").out == "identical\n"


def test_float_and_chip_are_compared(room: Path) -> None:
    words = ("compare", room / "net.pt", room / "loihi2.snnhw", "--data", room / "data.npz", "--json")
    found = command(*words).json
    assert found["agreement"] >= 0.5
    assert [layer["name"] for layer in found["float"]["layers"]] == [p["name"] for p in found["quantized"]["layers"]]
    assert found["synops"] > 0
    assert found["latency"]["steps"] == 8 + 5, "start step of the last population + T"
    assert found["energy"]["grade"] in ("measured-fit", "simulated", "scaled", "inherited", "assumed")
    assert found["ann_baseline"]["macs"] > 0
    assert found["saturations"] == 0


def test_a_refusal_says_what_where_and_what_to_do(room: Path) -> None:
    with pytest.raises(SnnhwError) as caught:
        snnhw.run(room / "loihi2.snnhw", np.zeros((8, 28, 28), np.uint8))
    assert str(caught.value) == (
        "bad-shape: the data do not fit the network's input\n"
        "  where: x\n"
        "  needed: (samples, 1, 8, 8) or (samples, 4, 1, 8, 8)\n"
        "  limit: got (8, 28, 28)\n"
        "  hint: reshape the data, or compile for the shape you have"
    )
