"""What a comparison says of values and population codes, recomputed from the raw outputs of both networks."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise

import nir
import numpy as np
import pytest

import snnhw
from snnhw.artifact import Artifact
from snnhw.frontends.source import Source
from snnhw.network import Reset
from snnhw.semantics import PLAIN, Deployment, Semantics
from tests.unit.report.test_report import printed

STEPS = 20


def regression(outputs: int) -> Source:
    """6 inputs -> 24 LIF -> leaky integrators: their membranes, summed over the steps."""
    rng = np.random.default_rng(1)
    one = partial(np.full, outputs)
    nodes = {
        "input": nir.Input({"input": np.array([6])}),
        "f": nir.Affine(rng.normal(size=(24, 6)), rng.normal(size=24) * 0.3),
        "n": nir.LIF(*(np.full(24, x) for x in (10.0, 10.0, 0.0, 1.0)), v_reset=np.zeros(24)),
        "h": nir.Affine(rng.normal(size=(outputs, 24)), one(0.1)),
        "o": nir.LI(one(10.0), one(1.0), one(0.0)),
        "output": nir.Output({"output": np.array([outputs])}),
    }
    graph = nir.NIRGraph(nodes, list(pairwise(nodes)), type_check=False)
    semantics = Semantics(**{**PLAIN, "dt": 1.0, "reset": Reset.ZERO})
    return Source(graph, semantics, Deployment(STEPS, "spikes", (6,), "membrane"), {"file": "toy"})


def spikes(count: int = 16) -> np.ndarray:
    return (np.random.default_rng(2).random((count, STEPS, 6)) < 0.4).astype(np.uint8)


def compiled(source: Source, bits: int = 8) -> Artifact:
    return snnhw.compile(source, target="loihi2", weight_bits=bits)


@pytest.mark.parametrize("outputs", [1, 3])
def test_errors_of_a_regression_are_those_of_the_raw_outputs(outputs: int) -> None:
    source, x = regression(outputs), spikes()
    artifact = compiled(source, 4)
    floats = snnhw.run_float(source, x)["output"].sum(1)
    found = snnhw.run(artifact, x)
    integers = found["output"].sum(1) * artifact.network.readout.scale
    np.testing.assert_allclose(found["values"], integers)
    y = floats + np.random.default_rng(3).normal(size=floats.shape)
    tree = json.loads(snnhw.compare(source, artifact, x, y[:, 0] if outputs == 1 else y).to_json())
    assert tree["agreement"] is tree["float"]["accuracy"] is tree["quantized"]["accuracy"] is None
    assert tree["rule"] == f"values of {outputs} output{'s' if outputs > 1 else ''}: sum of membranes over the steps"
    assert tree["values"]["scale"] == artifact.network.readout.scale
    pairs = {"quantized": (integers, floats), "float_labels": (floats, y), "quantized_labels": (integers, y)}
    for name, (have, want) in pairs.items():
        assert [row["output"] for row in tree["values"][name]] == list(range(outputs))
        for i, row in enumerate(tree["values"][name]):
            error = have[:, i] - want[:, i]
            assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
            assert row["max_error"] == pytest.approx(np.abs(error).max(), rel=1e-4)
            assert row["correlation"] == pytest.approx(np.corrcoef(have[:, i], want[:, i])[0, 1], rel=1e-4)
            spread = ((want[:, i] - want[:, i].mean()) ** 2).sum()
            assert row["r2"] == pytest.approx(1 - (error**2).sum() / spread, rel=1e-4)


def test_one_output_has_no_agreement_with_or_without_labels() -> None:
    source, x = regression(1), spikes(4)
    coarse, fine = (snnhw.compare(source, compiled(source, bits), x) for bits in (2, 8))
    assert coarse.agreement is fine.agreement is None
    assert coarse.values is not None
    assert fine.values is not None
    assert coarse.values.quantized[0].rmse > 3 * fine.values.quantized[0].rmse > 0
    assert coarse.values.float_labels == ()


def test_several_outputs_without_labels_are_classes_unless_said() -> None:
    source, x = regression(3), spikes(4)
    artifact = compiled(source)
    assert snnhw.compare(source, artifact, x).agreement is not None
    assert snnhw.compare(source, artifact, x, judge="values").agreement is None


def test_reports_show_values() -> None:
    source, x = regression(2), spikes(4)
    c = snnhw.compare(source, compiled(source), x, np.random.default_rng(0).normal(size=(4, 2)))
    assert c.values is not None
    pages = (printed(c), c.to_markdown(), c.to_html())
    for page in pages:
        assert f"{c.values.quantized_labels[1].rmse:.4g}" in page
        assert "values of 2 outputs: sum of membranes over the steps" in page
    assert not any("agreement" in page for page in pages[:2])


def population() -> Source:
    """6 inputs -> 30 LIF neurons that stand for 5 classes."""
    rng = np.random.default_rng(4)
    nodes = {
        "input": nir.Input({"input": np.array([6])}),
        "f": nir.Affine(rng.normal(size=(30, 6)), rng.normal(size=30) * 0.3),
        "n": nir.LIF(*(np.full(30, x) for x in (2.0, 2.0, 0.0, 1.0)), v_reset=np.zeros(30)),
        "output": nir.Output({"output": np.array([30])}),
    }
    graph = nir.NIRGraph(nodes, list(pairwise(nodes)), type_check=False)
    semantics = Semantics(**{**PLAIN, "dt": 1.0})
    return Source(graph, semantics, Deployment(STEPS, "spikes", (6,), "rate", population=5), {"file": "toy"})


def test_a_population_code_is_judged_by_its_groups() -> None:
    source, x = population(), spikes(40)
    artifact = compiled(source, 5)
    votes = [
        run["output"].sum(1).reshape(40, 5, 6).sum(2) for run in (snnhw.run_float(source, x), snnhw.run(artifact, x))
    ]
    y = votes[0].argmax(1)
    c = snnhw.compare(source, artifact, x, y)
    assert (c.float_.accuracy, c.warnings) == (1.0, ())
    assert c.quantized.accuracy == c.agreement == np.mean(votes[1].argmax(1) == y)
    assert c.rule == "classes: the largest of 5, spike counts, summed over 5 groups of 6 outputs"
    assert c.host_readout == 30 * (STEPS - 1) + 25
    assert c.to_dict()["host_readout"] == c.host_readout


def test_a_population_code_that_nobody_told_of_is_said_first() -> None:
    source, x = population(), spikes(8)
    source = replace(source, deployment=replace(source.deployment, population=None))
    c = snnhw.compare(source, compiled(source), x, np.arange(8) % 5)
    assert [w.code for w in c.warnings] == ["labels-outputs"]
    assert c.warnings[0].fix.startswith("of a population code say --population 5")
    assert printed(c).lstrip().startswith("WARNING labels-outputs: y: 30 outputs meet labels 0 to 4")
