"""Every checkpoint in examples/: compiles, agrees with its float network, and is bit-exact in every engine."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import snnhw
from snnhw import api
from snnhw.artifact import Artifact
from snnhw.errors import QuantizeError
from snnhw.frontends import load_source
from snnhw.network import Array
from snnhw.zoo import checkpoint
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.registry import RECIPES, family_of
from tests.golden import integers

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SHIPPED = sorted(path.stem for path in EXAMPLES.glob("*.pt"))
FILES = {
    "fashion_mnist": "fashion_mnist_500.npz",
    "fashion_mnist_10k": "fashion_mnist_500.npz",
    "nmnist": "nmnist_100.npz",
}
SAMPLES = 60
PAIRS = [
    (name, target)
    for name in SHIPPED
    for target in ("loihi2", "loihi1")
    if target == "loihi2" or name not in integers.PER_NEURON
]


def data(name: str) -> tuple[Array, Array]:
    """Test samples of the checkpoint's data set, none of which it was trained on."""
    dataset = RECIPES[checkpoint.read(EXAMPLES / f"{name}.pt")["recipe"]].dataset
    if dataset in FILES:
        with np.load(EXAMPLES / FILES[dataset]) as file:
            return file["x"], file["y"]
    split = dataset_of(dataset)
    return split.x_test.numpy(), split.y_test.numpy()


def soft(name: str) -> bool:
    source = load_source(EXAMPLES / f"{name}.pt")
    return any(source.semantics.at(node).reset == "subtract" for node in source.graph.nodes)


@cache
def compiled(name: str, target: str) -> Artifact:
    return snnhw.compile(EXAMPLES / f"{name}.pt", target=target, hard_reset=target == "loihi1" and soft(name))


def require_same(artifact: Artifact, x: Array, engine: str) -> None:
    want, have = (api.run(artifact, x, e, record="state") for e in ("reference", engine))
    assert [key for key in want if not np.array_equal(want[key], have[key])] == []


def test_systems_are_shipped() -> None:
    assert len(SHIPPED) >= 13
    assert len({family_of(RECIPES[name]) for name in SHIPPED}) >= 8


@pytest.mark.parametrize("name", SHIPPED)
def test_on_loihi2(name: str) -> None:
    artifact, (x, y) = compiled(name, "loihi2"), data(name)
    found = snnhw.compare(EXAMPLES / f"{name}.pt", artifact, x[:SAMPLES], y[:SAMPLES]).to_dict()
    few = len(x[:SAMPLES])
    assert found["agreement"] >= 0.965 - 2 / few
    assert abs(found["float"]["accuracy"] - found["quantized"]["accuracy"]) <= 0.005 + 2 / few
    assert found["saturations"] == 0
    require_same(artifact, x[:1], "fast")


@pytest.mark.parametrize("name", [name for name, target in PAIRS if target == "loihi1"])
def test_on_loihi1(name: str) -> None:
    artifact, (x, _) = compiled(name, "loihi1"), data(name)
    require_same(artifact, x[:1], "fast")


@pytest.mark.parametrize("name", integers.PER_NEURON)
def test_loihi1_has_no_threshold_for_each_neuron(name: str) -> None:
    with pytest.raises(QuantizeError) as caught:
        compiled(name, "loihi1")
    text = "unsupported-neuron: target loihi1 has no such threshold\n  where: neurons\n  needed: one per neuron"
    assert str(caught.value).startswith(text)


def test_four_engines_of_the_network_learnt_by_stdp() -> None:
    """The inhibition closes a loop; the stock Lava has one delay of a step as the chip has."""
    pytest.importorskip("onnx")
    artifact, (x, _) = compiled("stdp_digits", "loihi2"), data("stdp_digits")
    require_same(artifact, x[:2], "onnx")
    require_same(artifact, x[:2], "lava")
    assert artifact.network.steps == 32


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_lava_gives_the_same_bits(name: str, target: str) -> None:
    require_same(compiled(name, target), data(name)[0][:1], "lava")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fast", "onnx", "lava"])
def test_a_third_machine_gives_the_same_bits(engine: str) -> None:
    artifact, (x, _) = compiled("stbp_scnn", "generic"), data("stbp_scnn")
    require_same(artifact, x[:2], engine)
    assert api.run(artifact, x[:2], "fast", record="spikes")["counts"].any()


@pytest.mark.slow
def test_integers_are_those_of_before() -> None:
    assert integers.changed(integers.pinned(), json.loads(integers.FILE.read_text(encoding="utf-8"))) == []
