"""lava-dl's recorded network, and small ones with one thing each: our engines, netx's rules and the file agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnhw import api
from snnhw.artifact import Artifact
from snnhw.frontends.netx import load_net
from snnhw.frontends.options import SourceOptions
from snnhw.network import Conv, Dense, Kind, Sparse
from tests.unit.frontends.netx.files import NETWORKS, dense, even, layer, matrix, neuron, written

TINY = Path(__file__).parent / "tinynet"


def samples(artifact: Artifact, count: int = 2) -> np.ndarray[Any, Any]:
    """Random analog values, or spikes."""
    rng, d = np.random.default_rng(3), artifact.deployment
    shape = (count, artifact.steps, *d.input_shape)
    return rng.random(shape) if d.encoding == "direct" else (rng.random(shape) < 0.35).astype(np.uint8)


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_recorded_spikes_of_every_layer(target: str) -> None:
    truth = np.load(TINY / "ground_truth.npz")
    x = (truth["input_bias"].transpose(2, 1, 0)[None] - 34) / 36.0
    artifact = api.compile(TINY / "tiny.net", target=target, options=SourceOptions(steps=15))
    for engine in ("fast", "reference"):
        found = api.run(artifact, x, engine, record="spikes")
        for name, spikes in (("layer0", 6783), ("layer1", 1633), ("layer2", 92)):
            assert found[f"spikes/{name}"].sum() == spikes
            assert np.array_equal(found[f"spikes/{name}"][0], truth[name][1:])
    assert all(row.text.startswith(("from the file", "netx's default", "unit")) for row in artifact.rationale)


def test_steps_of_the_file_and_float_reference() -> None:
    source = load_net(TINY / "tiny.net")
    assert source.reference.steps == 64
    truth = np.load(TINY / "ground_truth.npz")
    x = (truth["input_bias"].transpose(2, 1, 0)[None] - 34) / 36.0
    found = api.run_float(TINY / "tiny.net", x, record=True, options=SourceOptions(steps=15))
    assert np.array_equal(found["spikes/layer2"][0], truth["layer2"][1:])


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_engines_and_netx_rules_agree(name: str, target: str, tmp_path: Path) -> None:
    path = matrix(name, tmp_path / "m.net")
    artifact = api.compile(path, target=target)
    assert [check["status"] for check in artifact.checks] == ["equal"]
    x = samples(artifact)
    fast, plain = (api.run(artifact, x, engine, record="state") for engine in ("fast", "reference"))
    assert all(np.array_equal(fast[key], plain[key]) for key in plain)
    (spec,) = artifact.inputs
    values = fast[f"spikes/{spec.population}"]
    for population, expected in load_net(path).replay(values).items():
        key = "v" if artifact.network[population].kind is Kind.ACCUMULATOR else "spikes"
        assert np.array_equal(fast[f"{key}/{population}"], expected), population
    fired = [p.name for p in artifact.network.computed if p.kind is Kind.NEURON and fast[f"spikes/{p.name}"].any()]
    assert fired, "a network that never fires says nothing"


def test_compare_runs_both_sides(tmp_path: Path) -> None:
    path = matrix("sum", tmp_path / "m.net")
    artifact = api.compile(path, target="loihi2")
    x = samples(artifact, 8)
    assert api.compare(path, artifact, x, np.zeros(8, np.int64)).agreement >= 0.5


def test_greater_or_equal_as_slayer_trains(tmp_path: Path) -> None:
    path = written(tmp_path / "m.net", layer("input", (1,)), dense([[20]], **neuron(iDecay=4096, vDecay=0)), steps=3)
    x = np.ones((1, 3, 1), np.uint8)
    spikes = {}
    for comparison in ("gt", "ge"):
        options = SourceOptions(semantics={"threshold": comparison})
        artifact = api.compile(path, target="loihi2", options=options)
        spikes[comparison] = api.run(artifact, x)["output"].ravel().tolist()
        assert artifact.semantics["threshold"] == comparison
    assert spikes == {"gt": [0, 1, 0], "ge": [1, 1, 1]}


def test_delays_are_projections_of_their_synapses(tmp_path: Path) -> None:
    delay = np.array([[0, 3], [3, 3], [1, 0]])
    path = written(tmp_path / "m.net", layer("input", (2,)), dense([[2, 4], [6, -8], [10, 0]], delay=delay))
    network = load_net(path).reference
    assert [(q.lag, network.weights[q.op.weight].size) for q in network.projections] == [(0, 1), (1, 1), (3, 3)]  # type: ignore[union-attr]
    assert all(isinstance(q.op, Sparse) for q in network.projections)


def test_stored_weights_follow_the_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    odd, wide = rng.integers(-127, 128, (4, 6)) | 1, even(rng, 3, 4) * 3
    path = written(tmp_path / "m.net", layer("input", (6,)), dense(odd), dense(wide))
    for target, exponents in (("loihi1", [-1, 0]), ("loihi2", [0, 1])):
        artifact = api.compile(path, target=target)
        network = artifact.network
        assert [q.weight_exp for q in network.projections] == exponents
        for q, logical in zip(network.projections, (odd, wide), strict=True):
            assert isinstance(q.op, Dense)
            assert np.array_equal(network.array(q.op) * 2.0**q.weight_exp, logical)
        assert any(row.parameter.startswith("stored weights") for row in artifact.rationale)


def test_pool_and_average_as_slayer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pool = layer(
        "pool",
        (2, 3, 2),
        weight=np.full((1, 1, 2, 3), 24.0),
        kernelSize=[2, 3],
        stride=[2, 3],
        padding=[0, 0],
        **neuron(),
    )
    path = written(
        tmp_path / "m.net",
        layer("input", (2, 6, 6)),
        pool,
        layer("flatten", (12, 1, 1)),
        dense(even(rng, 6, 12)),
        layer("average", (3, 1, 1)),
    )
    artifact = api.compile(path, target="loihi1")
    op = artifact.network.projections[0].op
    assert isinstance(op, Conv)
    assert (op.groups, op.stride, artifact.network.array(op).shape) == (2, (2, 3), (2, 1, 2, 3))
    assert artifact.checks[0]["status"] == "equal"
    found = api.run(artifact, samples(artifact), record="spikes")
    groups = found["spikes/layer3"].reshape(2, artifact.steps, 3, 2).sum(axis=3)
    assert np.array_equal(found["output"].reshape(groups.shape), groups * 64)


def test_input_shape_of_a_file_without_input_layer(tmp_path: Path) -> None:
    weight = even(np.random.default_rng(0), 3, 2, 3, 3)
    fields = {"weight": weight, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, **neuron()}
    path = written(tmp_path / "m.net", layer("conv", (3, 4, 5), **fields), steps=None)
    source = load_net(path, SourceOptions(steps=7, input_shape=(2, 6, 7)))
    assert (source.deployment.input_shape, source.reference.steps) == ((2, 6, 7), 7)
    assert source.origin["flags"]["steps"] == {"value": 7, "from": "flag"}
