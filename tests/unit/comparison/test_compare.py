"""The comparison's numbers, keys and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from snnhw.artifact import Artifact
from snnhw.cautions import Caution
from snnhw.comparison import Comparison, compare
from snnhw.comparison.build import count, finish
from snnhw.comparison.partial import merged
from snnhw.comparison.raster import NEURONS
from snnhw.encoding import HostOp, InputSpec, encode
from snnhw.engines.floating import FloatEngine
from snnhw.engines.observe import Recorder
from snnhw.engines.reference import ReferenceEngine
from snnhw.errors import DataError
from snnhw.network import Conv, Diagonal, FloatNeuron, Inject, Kind, Network, Population, Projection, Readout
from snnhw.semantics import Deployment
from tests.unit.chip.nets import CHAIN_INPUT, chain, integrator, mapped, residual, residual_input
from tests.unit.comparison.sides import Twin

KEYS = {
    "float", "quantized", "agreement", "synops", "neuron_updates", "messages", "hops", "latency", "energy",
    "ann_baseline", "saturations", "engine", "target", "cores_used",
}  # fmt: skip


def compared(samples: int = 4, chunk: int = 3, **twin: tuple[object, ...]) -> Comparison:
    artifact = residual()
    x = residual_input(samples)
    labels = np.zeros(samples, np.int64)
    return compare(Twin(artifact, **twin), artifact, x, labels, ReferenceEngine(), chunk=chunk)  # type: ignore[arg-type]


def test_json_keys() -> None:
    tree = json.loads(compared().to_json())
    assert set(tree) >= KEYS
    for side in (tree["float"], tree["quantized"]):
        assert set(side) == {"accuracy", "layers"}
        assert all(set(layer) == {"name", "neurons", "spikes", "rate"} for layer in side["layers"])
    assert set(tree["latency"]) >= {"steps", "seconds", "grade"}
    assert set(tree["energy"]) >= {"total_j", "parts", "grade"}
    assert set(tree["ann_baseline"]) >= {"macs", "energy_j"}
    assert tree["schema"] == 1


def test_spikes_of_the_shown_sample_stand_beside_each_other() -> None:
    """The twin has the same spikes but those that are taken away; of shards the one that has the sample shows it."""
    artifact, x, y = residual(), residual_input(8), np.zeros(8, np.int64)
    whole = compare(Twin(artifact, silent=("b",)), artifact, x, y, ReferenceEngine(), chunk=2, sample=5)
    assert whole.shown is not None
    assert (whole.shown.sample, whole.shown.label) == (5, 0)
    recorder = Recorder(artifact.network, spikes=True)
    values = encode(x[5:6], artifact.inputs, artifact.network.steps)
    ReferenceEngine().run(artifact.network, artifact.target, [values], [recorder])
    for raster in (raster for raster in whole.raster if artifact.network[raster.name].size <= NEURONS):
        spikes = recorder.arrays()[f"spikes/{raster.name}"][0].reshape(artifact.network.steps, -1)
        assert raster.events == tuple((int(t), int(n)) for t, n in np.argwhere(spikes)), raster.name
        assert raster.float_ == (() if raster.name == "b" else raster.events)
    assert any(raster.events for raster in whole.raster if raster.name == "b")
    parts = [
        count(Twin(artifact, silent=("b",)), artifact, x, y, ReferenceEngine(), chunk=2, sample=5, shard=(i, 3))
        for i in (1, 2, 3)
    ]
    assert finish(artifact, merged(parts)).raster == whole.raster
    with pytest.raises(DataError, match="the sample to be shown is not there") as caught:
        compare(Twin(artifact), artifact, x, y, ReferenceEngine(), sample=8)
    assert caught.value.code == "no-such-sample"


def test_chain_by_hand() -> None:
    """Counts as in tests/unit/chip/test_counts.py."""
    artifact = chain()
    c = compare(Twin(artifact), artifact, np.repeat(CHAIN_INPUT, 2, axis=0), None, ReferenceEngine())
    assert (c.samples, c.steps, c.engine, c.target) == (2, 2, "reference", "toy")
    assert (c.synops, c.synops_nonzero, c.neuron_updates, c.neuron_updates_active) == (20, 19, 12, 12)
    assert (c.messages, c.messages_host, c.hops, c.saturations) == (10, 6, 2, 0)
    assert (c.cores_used, c.chips_used, c.latency.steps, c.throughput.steps_per_sample) == (2, 1, 4, 2)
    assert [(layer.name, layer.neurons, layer.spikes, layer.rate) for layer in c.quantized.layers] == [
        ("h", 4, 4.0, 0.5),
        ("y", 2, 0.0, 0.0),
    ]
    assert c.quantized.accuracy is None
    assert c.float_.accuracy is None
    assert c.agreement == 1.0
    assert c.ann_baseline.macs == 12 + 8
    (said,) = c.warnings
    assert (said.code, said.where, said.size) == ("silent-output", "y", "0 spikes in 2 samples, float and quantised")
    assert c.first_layer_macs == 0
    assert c.throughput.samples_per_second == pytest.approx(1 / c.throughput.seconds_per_sample, rel=1e-12)


def test_energy_parts_sum_and_agree_with_counts() -> None:
    c = compared()
    assert c.energy.total_j == pytest.approx(sum(part.joules for part in c.energy.parts.values()), rel=1e-12)
    formats = ("dense", "sparse", "conv")
    assert sum(c.energy.parts[f"synops_{f}"].count for f in formats) == pytest.approx(c.synops, rel=1e-12)
    assert c.energy.parts["message_in"].count == c.messages
    assert c.energy.parts["message_out"].count == c.messages - c.messages_host
    assert c.energy.grade == "assumed"
    assert {row.key for row in c.constants} >= {part.constant for part in c.energy.parts.values() if part.count}


def test_graded_input_is_listed_as_first_layer() -> None:
    c = compared()
    assert c.first_layer_macs == c.projections[0].synops > 0
    assert c.payload_synops > c.synops
    assert any("graded" in note for note in c.notes)


def test_chunks_do_not_change_the_result() -> None:
    assert compared(chunk=1).to_dict() == compared(chunk=64).to_dict()


def test_wrong_predictions_lower_agreement() -> None:
    whole, faulty = compared(), compared(wrong=(0, 3))
    assert (whole.agreement, faulty.agreement) == (1.0, 0.5)
    assert faulty.quantized == whole.quantized


def test_drift_of_a_layer_that_fell_silent() -> None:
    """Against silence the earth mover's distance is the mean rate."""
    c = compared(silent=("b",))
    drift = {d.name: d.distance for d in c.drift}
    rates = {layer.name: layer.rate for layer in c.quantized.layers}
    assert drift["a"] == 0
    assert drift["b"] == pytest.approx(rates["b"], rel=1e-12)
    assert next(layer.spikes for layer in c.float_.layers if layer.name == "b") == 0


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    artifact = chain()
    x = np.repeat(CHAIN_INPUT, 5, axis=0)
    compare(Twin(artifact), artifact, x, None, ReferenceEngine(), chunk=2, progress=lambda *done: told.append(done))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_warnings_of_the_artifact_are_repeated() -> None:
    caution = Caution("some-code", "somewhere", "something", "a little", "mend it")
    artifact = replace(residual(), warnings=(caution,))
    c = compare(Twin(artifact), artifact, residual_input(2), None, ReferenceEngine())
    assert c.warnings == (caution,)
    assert c.to_dict()["warnings"] == [
        {"code": "some-code", "where": "somewhere", "what": "something", "size": "a little", "fix": "mend it"}
    ]
    assert str(caution) == "some-code: somewhere: something (a little); mend it"


def test_overflow_is_noted() -> None:
    artifact = chain()
    h = artifact.network["h"]
    loud = replace(h, neuron=replace(h.model, act_shift=23))
    network = replace(
        artifact.network, populations=tuple(loud if p.name == "h" else p for p in artifact.network.populations)
    )
    loud_artifact = replace(artifact, network=network)
    c = compare(Twin(loud_artifact), loud_artifact, CHAIN_INPUT, None, ReferenceEngine())
    assert c.saturations == sum(o.wraps + o.clips for o in c.overflow) > 0
    assert [o.name for o in c.overflow] == ["h"]
    assert c.notes[0].startswith("OVERFLOW")


def hosted() -> tuple[Artifact, Artifact]:
    """A net whose first convolution is on the chip, and the same with it on the host, directly encoded, T = 2."""
    kernel, op = np.ones((2, 1, 3, 3), np.int64), Conv("k", padding=(1, 1))
    rest = (Population("a", (2, 4, 4), Kind.NEURON, integrator(2), start=1),)
    pixels = Population("x", (1, 4, 4), Kind.INPUT, payload=(0, 255))
    currents = Population("x@a", (2, 4, 4), Kind.INPUT, payload=(0, 1000))
    readout = Readout("rate", "a")
    chip = Network((pixels, *rest), (Projection("x-a", "x", "a", op),), {"k": kernel}, 2, readout)
    host = Network((currents, *rest), (Projection("x@a-a", "x@a", "a", Inject()),), {}, 2, readout)
    direct = InputSpec("x", (1, 4, 4), "direct", high=255)
    layer = HostOp("x", op, {"k": kernel}, np.zeros((2, 1, 1), np.int64), 0, (2, 4, 4), 0, 1000)
    slices = [("a", ((0, 2), (0, 4), (0, 4)), 0)]
    deployment = Deployment(2, "direct", (1, 4, 4), "rate")
    on_chip = replace(mapped(chip, slices), inputs=(direct,), deployment=deployment)
    on_host = replace(
        mapped(host, slices), inputs=(replace(direct, population="x@a", host=layer),), deployment=deployment
    )
    return on_chip, replace(on_host, reference=on_chip.reference)


def test_first_layer_on_the_host() -> None:
    """The same spikes; the host's multiply-accumulates instead of synops; the same ANN and float operations."""
    x = np.random.default_rng(1).integers(0, 3, (3, 1, 4, 4))
    on_chip, on_host = hosted()
    chip, host = (compare(Twin(a), a, x, None, ReferenceEngine(), chunk=2) for a in (on_chip, on_host))
    inside = (3 * 4 - 2) ** 2 * 2  # kernel positions inside the image, two channels out
    assert chip.quantized == host.quantized
    assert (host.synops, host.messages, host.first_layer_macs, host.host_macs) == (0, 0, 0, inside)
    assert chip.first_layer_macs == chip.synops > 0
    assert chip.host_macs == 0
    assert chip.ann_baseline == host.ann_baseline
    assert chip.ann_baseline.macs == inside
    assert chip.convention_45nm.float_snn == host.convention_45nm.float_snn
    assert chip.convention_45nm.float_snn.macs == inside
    assert host.projections[0].events > 0
    assert host.projections[0].format is None
    assert any("host_macs" in note for note in host.notes)
    assert any("Injected" in note for note in host.notes)
    assert not any("graded" in note for note in host.notes)


@pytest.mark.parametrize(("high", "kind"), [(3, "macs"), (1, "acs")])
def test_events_into_a_first_layer_on_the_host(high: int, kind: str) -> None:
    """Event counts are multiply-accumulates of the float network, one per event and synapse; plain spikes add."""
    x = np.random.default_rng(1).integers(0, high + 1, (3, 2, 1, 4, 4))
    _, direct = hosted()
    spec = replace(direct.inputs[0], encoding="spikes", high=high)
    artifact = replace(direct, inputs=(spec,), deployment=replace(direct.deployment, encoding="spikes"))

    class Float(Twin):
        def run(self, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            predictions, spikes = super().run(x)
            return predictions, {**spikes, "x": x}

    found = compare(Float(artifact), artifact, x, None, ReferenceEngine(), chunk=2).convention_45nm.float_snn
    reached = np.outer(edge := np.array([2, 3, 3, 2]), edge) * 2
    assert getattr(found, kind) == pytest.approx(((x != 0) * reached).sum() / 3, rel=1e-12)
    assert found.acs * found.macs == 0
    with pytest.raises(
        DataError, match="float-run-incomplete: the float run gave no spikes of a population\n  where: x"
    ):
        compare(Twin(artifact), artifact, x, None, ReferenceEngine())


def test_the_float_engine_gives_its_inputs() -> None:
    resting = FloatNeuron(1.0, np.ones(()), np.zeros(()))
    cells = (Population("x", (1,), Kind.INPUT), Population("n", (1,), Kind.NEURON, resting, 1))
    network = Network(cells, (Projection("x-n", "x", "n", Diagonal("w")),), {"w": np.ones(1)}, 2, Readout("rate", "n"))
    _, found = FloatEngine(network, Deployment(2, "spikes", (1,), "rate")).run(np.array([[[3], [0]]]))
    assert found["x"].tolist() == [[[3.0], [0.0]]]


def test_first_layer_once_a_step_for_sequences() -> None:
    x = np.random.default_rng(1).integers(0, 3, (3, 2, 1, 4, 4))
    _, on_host = hosted()
    assert compare(Twin(on_host), on_host, x, None, ReferenceEngine()).host_macs == 2 * 200


def test_no_samples() -> None:
    with pytest.raises(DataError, match="no-samples: there are no samples to compare on"):
        compare(Twin(chain()), chain(), CHAIN_INPUT[:0], None, ReferenceEngine())


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="bad-labels: labels do not fit the samples"):
        compare(Twin(chain()), chain(), CHAIN_INPUT, np.zeros(2), ReferenceEngine())


def test_labels_of_classes_that_are_not_there() -> None:
    """The two outputs of `chain` are classes 0 and 1."""
    for label in (2, -1):
        with pytest.raises(DataError) as caught:
            compare(Twin(chain()), chain(), CHAIN_INPUT, np.array([label]), ReferenceEngine())
        assert str(caught.value) == (
            "bad-labels: labels name classes that the network does not have\n  where: y\n"
            f"  needed: {label} to {label}\n  limit: 0 to 1\n"
            "  hint: count classes from 0, or give the data of this network"
        )


def test_float_side_without_a_population() -> None:
    class Poor:
        def run(self, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            return np.zeros(len(x), np.int64), {"x": x, "h": np.zeros((len(x), 2, 4))}

    with pytest.raises(
        DataError, match="float-run-incomplete: the float run gave no spikes of a population\n  where: y"
    ):
        compare(Poor(), chain(), CHAIN_INPUT, None, ReferenceEngine())


def test_layers_are_the_spiking_populations() -> None:
    names = [p.name for p in residual().network.populations if p.kind is Kind.NEURON]
    c = compared()
    assert [layer.name for layer in c.quantized.layers] == [layer.name for layer in c.float_.layers] == names
    assert isinstance(residual().network.populations[0], Population)
