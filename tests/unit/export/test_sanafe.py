"""What SANA-FE cannot run alike is refused by name; the files say mapping, constants and integers of the artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from snnhw.artifact import Artifact
from snnhw.errors import ArtifactError
from snnhw.export.sanafe import write_sanafe
from snnhw.mapping.types import Mapping
from snnhw.network import Comparison, Dense, Kind, Projection, Reset, ResetTiming, Sparse
from tests.conformance.sanafe_agreement import random_mesh


def mesh() -> Artifact:
    return random_mesh(3, 4, 2, seed=0)


def neuron(artifact: Artifact, **values: Any) -> Artifact:
    """With another neuron model, or other fields of the population ('kind', 'payload', 'start')."""
    network = artifact.network
    host, own = network.populations
    whole = {key: values.pop(key) for key in ("kind", "payload", "start") if key in values}
    own = replace(own, neuron=replace(own.model, **values), **whole)
    return replace(artifact, network=replace(network, populations=(host, own)))


def projection(artifact: Artifact, **values: Any) -> Artifact:
    network = artifact.network
    first, own = network.projections
    return replace(artifact, network=replace(network, projections=(first, replace(own, **values))))


def other(artifact: Artifact, how: str) -> Artifact:
    """What is no field of the neuron."""
    network, target = artifact.network, artifact.target
    match how:
        case "chips":
            return replace(artifact, mapping=Mapping(artifact.mapping.slices, 2))
        case "widths":
            return replace(artifact, target=target.changed({"numeric.u_bits": 20}))
        case "axons":
            slices = tuple(replace(s, core=0) for s in artifact.mapping.slices)
            changed = target.changed({"core.message_per_axon": True})
            return replace(artifact, mapping=Mapping(slices, 1), target=changed)
        case "formats":
            size = network["n"].size
            more = Projection("n-n.2", "n", "n", Dense("d"), lag=1)
            weights = {**network.weights, "d": np.zeros((size, size), np.int64)}
            return replace(
                artifact, network=replace(network, projections=(*network.projections, more), weights=weights)
            )
        case "later":
            behind = replace(network["n"], name="m", start=2)
            more = Projection("n-m", "n", "m", Sparse("w"))
            populations, projections = (*network.populations, behind), (*network.projections, more)
            slices = (*artifact.mapping.slices, *(replace(s, population="m") for s in artifact.mapping.slices))
            found = replace(network, populations=populations, projections=projections)
            return replace(artifact, network=found, mapping=Mapping(slices, 1))
        case "model":
            own: Any = SimpleNamespace(MODEL="alif")
            populations = (network.populations[0], replace(network["n"], neuron=own))
            return replace(artifact, network=replace(network, populations=populations))
        case "host":
            first = Projection("host-n", "host", "n", network.projections[1].op)
            return replace(artifact, network=replace(network, projections=(first, network.projections[1])))
    raise AssertionError(how)


CASES = [
    (lambda a: other(a, "widths"), "its states are 24 bits wide and decays 12"),
    (lambda a: other(a, "chips"), "it has one chip"),
    (lambda a: other(a, "model"), "another neuron model than the leaky integrate-and-fire"),
    (lambda a: neuron(a, payload=(0, 3)), "graded spikes"),
    (lambda a: neuron(a, max_spikes=3), "graded spikes"),
    (lambda a: neuron(a, kind=Kind.ACCUMULATOR), "a population that never fires"),
    (lambda a: neuron(a, du=0), "a synaptic current that lasts, which it does not round"),
    (lambda a: neuron(a, reset=Reset.SUBTRACT, reset_timing=ResetTiming.NEXT_STEP), "a reset in the next step"),
    (lambda a: neuron(a, reset=Reset.SUBTRACT, comparison=Comparison.GE), "a subtracting reset with >="),
    (lambda a: neuron(a, v_min=0), "a lower clip of the membrane"),
    (lambda a: neuron(a, v_init=64), "an initial membrane"),
    (
        lambda a: other(a, "later"),
        "a bias in a population that starts 1 steps later, for it has no reset between samples",
    ),
    (lambda a: other(a, "host"), "spikes that the host sends, for it sends all from cores"),
    (lambda a: projection(a, delay=3, lag=3), "a delay of 3 steps"),
    (lambda a: projection(a, weight_exp=-1), "sums of synapses that are shifted down"),
    (lambda a: other(a, "axons"), "it sends one message to a core, not one for each axon there"),
    (lambda a: other(a, "formats"), "synapses of several formats on one neuron (dense, sparse)"),
]


@pytest.mark.parametrize(("change", "said"), CASES, ids=[said[:30] for _, said in CASES])
def test_what_it_cannot_run_alike_is_refused_by_name(change: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        write_sanafe(change(mesh()), tmp_path / "out")
    assert caught.value.code == "sanafe-cannot"
    assert f"SANA-FE cannot run this alike: {said}" in str(caught.value)
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_spikes_behind_the_end_of_a_sample_are_refused(tmp_path: Path) -> None:
    """sanafe-cannot: the loop's last spikes would arrive while the population behind it still works."""
    artifact = other(mesh(), "later")
    network = artifact.network
    populations = tuple(
        p if p.kind is Kind.INPUT or p.name == "n" else replace(p, neuron=replace(p.model, bias=np.array(0)))
        for p in network.populations
    )
    with pytest.raises(
        ArtifactError, match="SANA-FE cannot run this alike: spikes that arrive behind the end of a sample"
    ):
        write_sanafe(replace(artifact, network=replace(network, populations=populations)), tmp_path)


def test_files_hold_the_target_the_mapping_and_the_integers(tmp_path: Path) -> None:
    artifact = mesh()
    assert write_sanafe(artifact, tmp_path) == {"n": "p0"}
    chip = yaml.safe_load((tmp_path / "architecture.yaml").read_text())["architecture"]
    (tile,) = chip["tile"]
    (core,) = tile["core"]
    time, joules = artifact.target.time, artifact.target.energy
    assert float(core["soma"][0]["attributes"]["latency_access_neuron"]) == time.access / 1e12
    assert float(core["axon_out"][0]["attributes"]["energy_message_out"]) == joules.message_out
    assert (chip["attributes"]["width"], chip["attributes"]["height"]) == artifact.target.chip.mesh
    found = yaml.safe_load((tmp_path / "network.yaml").read_text())
    mapped = {name: each[0]["core"] for row in found["mappings"] for name, each in row.items()}
    assert mapped == {f"p0.{i}": float(f"0.{i // 4}") for i in range(12)}
    table = artifact.network.projections[1].op.matrix(artifact.network.weights, (12,), (12,)).toarray()
    edges = np.zeros((12, 12))
    for row in found["network"]["edges"]:
        ((name, attributes),) = row.items()
        pre, post = (int(end.rpartition(".")[2]) for end in name.split(" -> "))
        edges[post, pre] = attributes[0]["weight"]
    assert np.array_equal(edges, table)
    neurons = found["network"]["groups"][0]["neurons"]
    biases = [dict(kv for part in row[i] for kv in part.items())["bias"] for i, row in enumerate(neurons)]
    assert biases == (artifact.network["n"].model.bias / 64).tolist()
