"""A quantised network as NIR: its integers divided by their scales, and the chip's own spikes where nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from torch import nn

import snnhw
from snnhw.artifact import Artifact
from snnhw.errors import ArtifactError
from snnhw.export.nir import write_graph
from snnhw.export.quantized import DT, ONE, quantized_source
from snnhw.frontends.nir.file import load_nir
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from snnhw.network import Dense, Inject, IntNeuron
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.frontends.checkpoints import content, saved
from tests.unit.frontends.foreign import unpacked
from tests.unit.frontends.modules import Residual, conv, imported

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def foreign(framework: str, case: str, folder: Path, target: str = "loihi2") -> tuple[Artifact, np.ndarray]:
    path, x, _ = unpacked(framework, case, folder)
    artifact = snnhw.compile(path, target=target, calibrate=x, options=SourceOptions(dialect=framework))
    return artifact, x


def read_back(artifact: Artifact, folder: Path) -> Any:
    summary = write_graph(artifact, folder / "quantised.nir")
    assert summary["network"] == "quantised"
    nir.read(folder / "quantised.nir")  # with its type check
    return load_nir(folder / "quantised.nir")


def both(artifact: Artifact, x: np.ndarray, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return snnhw.run(artifact, x, record="spikes"), snnhw.run_float(read_back(artifact, folder), x, record=True)


def assert_same_spikes(chip: dict[str, np.ndarray], reals: dict[str, np.ndarray]) -> None:
    names = [name for name in chip if name.startswith("spikes/") and name in reals and "input" not in name]
    assert names
    for name in names:
        assert chip[name].any(), name
        assert np.array_equal(chip[name].reshape(reals[name].shape), reals[name]), name


@pytest.mark.parametrize(("framework", "case"), [("norse", "iaf"), ("sinabs", "conv")])
def test_without_leaks_the_spikes_are_the_chips(framework: str, case: str, tmp_path: Path) -> None:
    artifact, x = foreign(framework, case, tmp_path)
    assert_same_spikes(*both(artifact, x, tmp_path))


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_on_both_targets(target: str, tmp_path: Path) -> None:
    artifact, x = foreign("norse", "iaf", tmp_path, target)
    assert_same_spikes(*both(artifact, x, tmp_path))


@pytest.mark.parametrize("sums", ["summands", "relays"])
def test_residual_sums_and_relays(sums: str, tmp_path: Path) -> None:
    """Pixels on a grid of 1/255, as the chip gets them; relays are the chip's own and are not in the file."""
    saved(tmp_path / "net.pt", content("sew_resnet"))
    artifact = snnhw.compile(tmp_path / "net.pt", target="loihi2", sums=sums)
    x = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    chip, reals = both(artifact, x, tmp_path)
    assert_same_spikes(chip, reals)
    assert np.array_equal(chip["predictions"], reals["predictions"])
    scale = artifact.network.readout.scale * artifact.steps
    assert np.allclose(chip["output"] * scale, reals["output"], rtol=0, atol=1e-9)


def test_gates_filters_latches_and_delays(tmp_path: Path) -> None:
    """One spike a sample is made of them."""
    artifact = snnhw.compile(EXAMPLES / "spikeprop_iris.pt", target="loihi2")
    kinds = {type(node) for node in quantized_source(artifact).graph.nodes.values()}
    assert kinds >= {nir.Threshold, nir.Delay, nir.I}
    shape = (8, artifact.steps, *artifact.deployment.input_shape)
    x = (np.random.default_rng(0).random(shape) < 0.2).astype(np.float64)
    assert_same_spikes(*both(artifact, x, tmp_path))


@pytest.mark.parametrize(
    ("framework", "case"),
    [("spikingjelly", "mlp"), ("snntorch", "cubalif"), ("snntorch", "recurrent"), ("rockpool", "cubalif")],
)
def test_decays_and_loops_are_the_integers_divided(framework: str, case: str, tmp_path: Path) -> None:
    artifact, x = foreign(framework, case, tmp_path)
    source = quantized_source(artifact)
    back = read_back(artifact, tmp_path)
    one, other = (run(s.graph, s.semantics, x) for s in (source, back))
    assert all(np.array_equal(one[name], other[name]) for name in one)  # bit for bit
    for population in artifact.network.computed:
        node, model = source.graph.nodes.get(population.name), population.model
        if isinstance(node, nir.LIF):
            assert np.allclose(DT / node.tau * ONE, np.broadcast_to(model.dv, population.shape), rtol=1e-12)
            units = model.vth / node.v_threshold
            assert (2.0 ** np.rint(np.log2(units)) == units).all()
    chip = snnhw.run(artifact, x)
    reals = snnhw.run_float(back, x)
    assert (chip["predictions"] == reals["predictions"]).mean() >= 0.5


def test_weights_are_the_integers_divided(tmp_path: Path) -> None:
    artifact, _ = foreign("norse", "iaf", tmp_path)
    graph = quantized_source(artifact).graph
    for q in artifact.network.projections:
        weight = graph.nodes[f"{q.post}.in"].weight
        ratio = weight / np.where(artifact.network.weights[q.op.weight], artifact.network.weights[q.op.weight], np.nan)
        rows = np.nanmax(ratio, axis=1)
        assert np.nanmax(np.abs(ratio - rows[:, None])) == 0.0
        assert (2.0 ** np.rint(np.log2(rows)) == rows).all()


def test_the_host_has_the_first_layer(tmp_path: Path) -> None:
    saved(tmp_path / "net.pt", content("sew_resnet"))
    artifact = snnhw.compile(tmp_path / "net.pt", target="loihi1")
    with pytest.raises(ArtifactError) as caught:
        quantized_source(artifact)
    assert str(caught.value).startswith("cannot-say: NIR has no words for the host computes the first layer\n")


def changed(artifact: Artifact, name: str, **changes: Any) -> Artifact:
    """One population's model changed."""
    populations = tuple(
        replace(p, neuron=replace(p.model, **changes)) if p.name == name else p for p in artifact.network.populations
    )
    return replace(artifact, network=replace(artifact.network, populations=populations))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"v_reset": 5, "reset": "v_reset"}, "a reset to a value other than 0"),
        ({"v_init": np.arange(12) * 64}, "a v_init of its own for every neuron"),
        ({"du": np.arange(12) * 100}, "a bias that no layer can carry, without a leak"),
        (
            {"du": np.arange(12) * 100, "bias": np.zeros(12, np.int64)},
            "states that last for ever beside others that do not",
        ),
    ],
)
def test_what_nir_cannot_say(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    artifact, _ = foreign("norse", "iaf", tmp_path)
    with pytest.raises(ArtifactError) as caught:
        quantized_source(changed(artifact, "1", **changes))
    assert str(caught.value).startswith(f"cannot-say: NIR has no words for {what}\n")
    assert caught.value.hint == "export the source"


def test_membranes_with_a_floor_and_a_start(tmp_path: Path) -> None:
    artifact, x = foreign("norse", "iaf", tmp_path)
    vth = int(np.max(artifact.network["1"].model.vth))
    moved = changed(artifact, "1", v_min=-vth, v_init=vth // 2, vth=np.asarray(vth))
    assert_same_spikes(*both(moved, x, tmp_path))


def test_a_residual_network_of_ours(tmp_path: Path) -> None:
    """Convolutions with biases, an average pool and a linear readout."""
    module = nn.Sequential(
        conv(2, 4),
        IF(),
        Residual(nn.Sequential(conv(4, 4), IF()), nn.Identity()),
        PerStep(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    )
    source = imported(module, (2, 5, 5), readout="mean")
    images = np.random.default_rng(1).integers(0, 256, (8, 2, 5, 5)).astype(np.uint8)
    artifact = snnhw.compile(source, target="loihi2", calibrate=images)
    assert isinstance(artifact.network.computed[0].model, IntNeuron)
    x = np.random.default_rng(0).integers(0, 256, (5, 2, 5, 5)).astype(np.uint8)
    assert_same_spikes(*both(artifact, x, tmp_path))


def rewired(artifact: Artifact, post: str, **changes: Any) -> Artifact:
    """The first projection into a population changed."""
    network, done = artifact.network, False
    projections = []
    for q in network.projections:
        hit = q.post == post and not done
        projections.append(replace(q, **changes) if hit else q)
        done = done or hit
    return replace(artifact, network=replace(network, projections=tuple(projections)))


def refusal(artifact: Artifact) -> str:
    with pytest.raises(ArtifactError) as caught:
        quantized_source(artifact)
    return str(caught.value)


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("residual")
    saved(folder / "net.pt", content("sew_resnet"))
    return snnhw.compile(folder / "net.pt", target="loihi2", sums="summands")


def test_operators_that_nir_lacks(residual: Artifact) -> None:
    stem = residual.network.computed[0].name
    assert refusal(rewired(residual, stem, op=Dense(residual.network.projections[0].op.weight))).startswith(
        "cannot-say: NIR has no words for a matrix into a population of shape (2, 8, 8)\n  where: input->"
    )
    text = refusal(rewired(residual, stem, op=Inject()))
    assert text.startswith("cannot-say: NIR has no words for values that the host injects\n")


def test_scales_that_weights_cannot_hold(residual: Artifact) -> None:
    stem = residual.network.computed[0]
    vth = np.broadcast_to(stem.model.vth, stem.shape) * (1 + 3 * np.arange(64).reshape(8, 8))
    assert refusal(changed(residual, stem.name, vth=vth)).startswith(
        "cannot-say: NIR has no words for a scale for every neuron behind a convolution\n"
    )
    name = stem.name
    populations = tuple(replace(p, payload_scale=0.5) if p.name == name else p for p in residual.network.populations)
    mixed = replace(residual, network=replace(residual.network, populations=populations))
    assert "cannot-say: NIR has no words for a sum of values in different units\n" in refusal(mixed)


def test_readouts_that_nir_lacks(residual: Artifact) -> None:
    network = residual.network
    last = network.readout.population
    elsewhere = replace(network.readout, population=network.computed[0].name)
    text = refusal(replace(residual, network=replace(network, readout=elsewhere)))
    assert text.startswith("cannot-say: NIR has no words for an accumulator that is not the readout\n")
    membrane = replace(residual, network=replace(network, readout=replace(network.readout, kind="membrane")))
    assert refusal(changed(membrane, last, du=100, bias=np.zeros(4, np.int64))).startswith(
        "cannot-say: NIR has no words for a current in front of a membrane without a leak\n"
    )
    assert refusal(changed(membrane, last, du=100)).startswith(
        "cannot-say: NIR has no words for a bias that no layer can carry\n"
    )
    stem = network.computed[0].name
    read = rewired(residual, stem, pre=last, op=Dense(network.into(last)[0].op.weight))
    assert "cannot-say: NIR has no words for a membrane that is read\n" in refusal(read)


def test_gates_that_remember() -> None:
    artifact = snnhw.compile(EXAMPLES / "spikeprop_iris.pt", target="loihi1")
    assert refusal(artifact).startswith("cannot-say: NIR has no words for a gate with a memory\n  where: ")


def test_constants_through_a_current(tmp_path: Path) -> None:
    """A bias in front of a synaptic current is a population that fires at every step; in the file it is a bias."""
    artifact, _ = foreign("spikingjelly", "cubalif", tmp_path)
    (constant,) = (p.name for p in artifact.network.computed if not artifact.network.into(p.name))
    graph = quantized_source(artifact).graph
    assert constant not in graph.nodes
    assert graph.nodes["_1.in"].bias.any()
    (late,) = artifact.network.out_of(constant)
    projections = tuple(replace(q, lag=1) if q == late else q for q in artifact.network.projections)
    moved = replace(artifact, network=replace(artifact.network, projections=projections))
    assert refusal(moved).startswith("cannot-say: NIR has no words for a constant current that begins late\n")


def test_leaky_readouts(tmp_path: Path) -> None:
    """The membrane of an LI node, as Norse's exporter writes it."""
    artifact, x = foreign("norse", "cubalif", tmp_path)
    assert artifact.network.readout.kind == "membrane"
    source = read_back(artifact, tmp_path)
    assert isinstance(source.graph.nodes["3"], nir.LI)
    chip, reals = snnhw.run(artifact, x)["predictions"], snnhw.run_float(source, x)["predictions"]
    assert (chip == reals).mean() >= 0.75
