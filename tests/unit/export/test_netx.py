"""`.net` files out: what netx can hold comes back the same, what it cannot is refused with the population's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from snnhw import api
from snnhw.artifact import Artifact
from snnhw.errors import ArtifactError
from snnhw.export.netx import input_currents, write_net
from snnhw.export.netx_layers import layers_of
from snnhw.machine import available, load_target
from snnhw.network import Comparison, Dense, Diagonal, IntNeuron, Network, Projection, Reset, ResetTiming, Sparse
from snnhw.quantize.verbatim import fitted
from tests.unit.frontends.netx.files import NETWORKS, dense, layer, matrix, written

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests/unit/frontends/netx/tinynet/tiny.net"


def same(one: Network[IntNeuron], other: Network[IntNeuron]) -> bool:
    """Whether two networks are the same integers, however biases are broadcast."""
    alike = [
        a.name == b.name
        and a.shape == b.shape
        and a.kind == b.kind
        and (a.neuron is None or _values(a.model, a.shape) == _values(b.model, b.shape))
        for a, b in zip(one.populations, other.populations, strict=True)
    ]
    routes = [replace(q, name="") for q in one.projections] == [replace(q, name="") for q in other.projections]
    weights = all(np.array_equal(array, other.weights[key]) for key, array in one.weights.items())
    return all(alike) and routes and weights and one.readout == other.readout and one.steps == other.steps


def _values(n: IntNeuron, shape: tuple[int, ...]) -> list[Any]:
    return [n.dv, n.du, n.act_shift, n.comparison, int(n.vth), np.broadcast_to(n.bias, shape).tolist()]


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_out_and_in_again_is_the_same(name: str, target: str, tmp_path: Path) -> None:
    artifact = api.compile(matrix(name, tmp_path / "m.net"), target=target)
    write_net(artifact, tmp_path / "again.net")
    again = api.compile(tmp_path / "again.net", target=target)
    assert same(artifact.network, again.network)
    assert artifact.inputs == again.inputs


def test_same_bytes_and_the_recorded_network(tmp_path: Path) -> None:
    artifact = api.compile(TINY, target="loihi1")
    write_net(artifact, tmp_path / "a.net")
    write_net(artifact, tmp_path / "b.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()
    with h5py.File(tmp_path / "a.net") as ours, h5py.File(TINY) as theirs:
        assert ours["simulation/tSample"][()] == theirs["simulation/tSample"][()]
        for key in ("layer/0/weight", "layer/0/bias", "layer/1/weight", "layer/2/bias", "layer/1/neuron/vThMant"):
            assert np.array_equal(ours[key][()].ravel(), theirs[key][()].ravel()), key


def test_a_trained_network_goes_out_and_comes_back(tmp_path: Path) -> None:
    artifact = api.compile(ROOT / "examples/stbp_scnn.pt", target="loihi1-netx")
    assert all((np.asarray(p.model.bias) % 64 == 0).all() for p in artifact.network.computed)
    write_net(artifact, tmp_path / "scnn.net")
    again = api.compile(tmp_path / "scnn.net", target="loihi1")
    x = np.load(ROOT / "examples/fashion_mnist_500.npz")["x"][:2]
    currents = input_currents(artifact, x)
    want, found = api.run(artifact, x, record="spikes"), api.run(again, currents, record="spikes")
    for one, other in zip(artifact.network.computed, again.network.computed, strict=True):
        assert np.array_equal(want[f"spikes/{one.name}"].ravel(), found[f"spikes/{other.name}"].ravel())
    assert want["spikes/lif1"].any()


def test_a_variant_is_its_base_with_other_numbers() -> None:
    base, variant = load_target("loihi1"), load_target("loihi1-netx")
    assert (variant.name, variant.numeric.bias_exp_min, variant.profile) == ("loihi1-netx", 6, base.profile)
    assert variant.constants == {**base.constants, "numeric.bias_exp_min": variant.constant("numeric.bias_exp_min")}
    assert "loihi1-netx" not in available()


def chain(tmp_path: Path) -> Artifact:
    return api.compile(matrix("dense", tmp_path / "m.net"), target="loihi2")


def changed(artifact: Artifact, name: str, **changes: Any) -> Artifact:
    """The artifact with another neuron in one population."""
    network = artifact.network
    populations = tuple(
        replace(p, neuron=replace(p.model, **changes)) if p.name == name else p for p in network.populations
    )
    return replace(artifact, network=replace(network, populations=populations))


def rewired(artifact: Artifact, *projections: Projection, weights: dict[str, Any] | None = None) -> Artifact:
    """The artifact with further projections and weights."""
    network = artifact.network
    table = {**network.weights, **(weights or {})}
    return replace(artifact, network=replace(network, projections=(*network.projections, *projections), weights=table))


def refusal(artifact: Artifact) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        layers_of(artifact.network, artifact.inputs)
    assert caught.value.code == "netx-cannot"
    return caught.value


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"comparison": Comparison.GE}, "netx's neurons have no such comparison"),
        ({"reset": Reset.SUBTRACT}, "netx's neurons have no such reset"),
        ({"reset": Reset.SUBTRACT, "reset_timing": ResetTiming.NEXT_STEP}, "netx's neurons have no such reset"),
        ({"max_spikes": 4}, "netx's neurons have no such spikes per step"),
        ({"v_init": 5}, "netx's neurons have no such initial v"),
        ({"v_min": 0}, "netx's neurons have no such lower clip of v"),
        ({"act_shift": 3}, "netx's neurons have no such act_shift"),
        ({"vth": np.arange(9) * 64}, "netx's neurons have one threshold a layer"),
        ({"vth": np.asarray(100)}, "the threshold is not a mantissa times 64"),
        ({"bias": np.asarray(100)}, "netx multiplies bias mantissas by 64"),
        ({"bias": np.asarray(64 * 5000)}, "a bias mantissa has more than 13 bit"),
    ],
)
def test_neurons_that_netx_does_not_have(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    error = refusal(changed(chain(tmp_path), "layer1", **changes))
    assert (error.message, error.where) == (text, "layer1")


def test_wires_that_netx_does_not_have(tmp_path: Path) -> None:
    artifact = chain(tmp_path)
    w, one = {"x": np.full((4, 8), 2)}, Projection("input->layer2", "input", "layer2", Dense("x"), delay=2)
    error = refusal(rewired(artifact, one, weights=w))
    assert (error.message, error.where) == ("a layer reads others than the one before it (a residual)", "layer2")
    w = {"x": np.full((9, 9), 2)}
    error = refusal(rewired(artifact, Projection("r", "layer1", "layer1", Dense("x"), delay=2, lag=2), weights=w))
    assert error.message == "feedback has a delay"
    error = refusal(
        rewired(artifact, Projection("r", "layer1", "layer1", Diagonal("x"), lag=1), weights={"x": np.ones(9)})
    )
    assert error.message == "feedback is not a matrix"
    w = {"x": np.full((4, 9), 2)}
    error = refusal(rewired(artifact, Projection("r", "layer1", "layer2", Dense("x"), lag=1, delay=2), weights=w))
    assert error.message == "a synapse has two delays"
    again = Projection("r", "layer1", "layer2", Diagonal("x"), lag=1, delay=2)
    assert refusal(rewired(artifact, again, weights=w)).message == "a layer reads the one before it in several ways"


def with_op(artifact: Artifact, name: str, op: Any, **weights: Any) -> Artifact:
    """The artifact with another operator into one population."""
    network = artifact.network
    projections = tuple(replace(q, op=op) if q.post == name else q for q in network.projections)
    table = {**network.weights, **weights}
    return replace(artifact, network=replace(network, projections=projections, weights=table))


def test_weights_that_netx_cannot_pack(tmp_path: Path) -> None:
    artifact = chain(tmp_path)
    error = refusal(with_op(artifact, "layer1", Dense("x"), x=np.array([[300, -2] * 4] * 9)))
    assert (error.message, error.where) == ("netx cannot pack these weights", "layer1")
    error = refusal(with_op(artifact, "layer1", Dense("x"), x=np.zeros((9, 8), int)))
    assert error.message == "netx cannot pack a matrix of zeros"
    network = artifact.network
    cut = tuple(replace(q, weight_exp=-3) for q in network.projections)
    error = refusal(replace(artifact, network=replace(network, projections=cut)))
    assert error.message == "the weight exponent cuts sums, which netx does not"
    late = tuple(replace(q, lag=63, delay=64) for q in network.projections)
    assert refusal(replace(artifact, network=replace(network, projections=late))).message == "a delay is too long"


def test_a_matrix_may_be_stored_sparsely(tmp_path: Path) -> None:
    artifact = chain(tmp_path)
    weight = artifact.network.weights["layer1"]
    parts = {"s": weight.ravel(), "s/indices": np.tile(np.arange(8, dtype=np.int32), 9), "s/indptr": np.arange(10) * 8}
    found = layers_of(with_op(artifact, "layer1", Sparse("s"), **parts).network, artifact.inputs)[1]
    assert np.array_equal(found.fields["weight"], layers_of(artifact.network, artifact.inputs)[1].fields["weight"])


def test_biases_of_a_matrix_layer_are_in_a_row(tmp_path: Path) -> None:
    fields = dense(np.arange(12).reshape(6, 2) * 2) | {"shape": (3, 2, 1), "bias": [1, 1, 2, 2, 3, 3]}
    artifact = api.compile(written(tmp_path / "m.net", layer("input", (2,)), fields), target="loihi2")
    assert layers_of(artifact.network, artifact.inputs)[1].fields["bias"].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_matrix_is_not_written_beyond_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnhw.export.netx_layers.MAX_SYNAPSES", 10)
    assert refusal(chain(tmp_path)).message == "the layer is too large for a matrix"


def test_images_behind_a_matrix_have_no_order_in_netx(tmp_path: Path) -> None:
    artifact = api.compile(matrix("conv", tmp_path / "m.net"), target="loihi2")
    network = artifact.network
    size = (network["layer1"].size, network["input"].size)
    projections = (replace(network.projections[0], op=Dense("x")), *network.projections[1:])
    table = {**network.weights, "x": np.full(size, 2)}
    error = refusal(replace(artifact, network=replace(network, projections=projections, weights=table)))
    assert (error.message, error.where) == ("a convolution reads a matrix layer", "layer2")
    late = (replace(network.projections[0], lag=1, delay=2), *network.projections[1:])
    error = refusal(replace(artifact, network=replace(network, projections=late)))
    assert error.message == "a convolution has a delay, which netx drops"


def test_graded_input_gates_and_readouts(tmp_path: Path) -> None:
    artifact = chain(tmp_path)
    network = artifact.network
    first, *rest = network.populations
    graded = replace(network, populations=(replace(first, payload=(0, 255)), *rest))
    assert refusal(replace(artifact, network=graded)).message == "the input is graded"
    twice = replace(network, populations=(first, replace(first, name="second"), *rest))
    assert refusal(replace(artifact, network=twice)).message == "the network has several inputs"
    early = replace(network, readout=replace(network.readout, population="layer1"))
    assert refusal(replace(artifact, network=early)).message == "the readout is not the last layer"
    for name in ("sew_resnet", "sew_and"):
        error = refusal(api.compile(ROOT / f"examples/{name}.pt", target="loihi1"))
        wanted = {
            "sew_resnet": "a layer reads others than the one before it (a residual)",
            "sew_and": "a gate is no layer of netx",
        }
        assert error.message == wanted[name]


def test_currents_pass_the_synaptic_filter_by(tmp_path: Path) -> None:
    artifact = api.compile(matrix("input neurons", tmp_path / "m.net"), target="loihi1")
    error = refusal(changed(artifact, "layer0", du=100))
    assert error.message == "netx's input currents pass the synaptic filter by"


@pytest.mark.parametrize(
    ("target", "weights", "stored", "exponent"),
    [
        ("loihi1", [2, -256, 254], [2, -256, 254], 0),
        ("loihi1", [1, -127], [2, -254], -1),
        ("loihi2", [127, -128], [127, -128], 0),
        ("loihi2", [2, -256, 254], [1, -128, 127], 1),
        ("loihi2", [508, -4], [127, -1], 2),
    ],
)
def test_weights_in_a_target_format(target: str, weights: list[int], stored: list[int], exponent: int) -> None:
    found, power = fitted(np.array(weights), load_target(target), "here")
    assert (found.tolist(), power) == (stored, exponent)


def test_an_empty_synapse_keeps_its_delay_out(tmp_path: Path) -> None:
    path = written(tmp_path / "m.net", layer("input", (2,)), dense([[2, 0], [4, 6]], delay=np.array([[1, 2], [0, 2]])))
    write_net(api.compile(path, target="loihi2"), tmp_path / "o.net")
    with h5py.File(tmp_path / "o.net") as file:
        assert file["layer/1/delay"][()].tolist() == [[1, 0], [0, 2]]
