"""Readouts: their text, their scores against plain numpy, groups, and what a source's units are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnhw
from snnhw.api import with_input
from snnhw.artifact import load, save
from snnhw.errors import LoweringError, SourceError
from snnhw.frontends.nir.file import write_nir
from snnhw.frontends.source import Source
from snnhw.network import Readout
from snnhw.readout import (
    LAST,
    Rule,
    Running,
    grouped,
    host_operations,
    judged,
    parse,
    real_scale,
    require_fitting,
    rule_of,
    scores,
    told,
    values,
)
from snnhw.semantics import PLAIN, Deployment, Semantics, to_metadata

TEXTS = {
    "rate": Rule("rate", "sum"),
    "rate-mean": Rule("rate", "mean"),
    "rate-last": Rule("rate", "sum", LAST),
    "first": Rule("rate", "first"),
    "mean": Rule("mean", "mean"),
    "linear-sum": Rule("mean", "sum"),
    "linear-max": Rule("mean", "max"),
    "membrane": Rule("membrane", "sum"),
    "membrane-last": Rule("membrane", "sum", LAST),
    "membrane-mean[2:]": Rule("membrane", "mean", (2, None)),
    "sum": Rule("", "sum"),
    "last": Rule("", "sum", LAST),
    "max[-3:-1]": Rule("", "max", (-3, -1)),
    "rate[5:]": Rule("rate", "sum", (5, None)),
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_rule(text: str) -> None:
    assert parse(text) == TEXTS[text]
    assert rule_of(text).text == text


@pytest.mark.parametrize(
    "text", ["", "median", "rate-first", "first[2:]", "last[1:]", "spikes-", "max[a:]", "rate rate"]
)
def test_what_is_no_rule(text: str) -> None:
    assert parse(text) is None
    with pytest.raises(SourceError, match="bad-semantics: no such readout"):
        rule_of(text)


def outputs(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 9, (5, 7, 6))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("window", [(None, None), (2, None), (-1, None), (-4, -1)])
@pytest.mark.parametrize("over", ["", "sum", "mean", "max"])
@pytest.mark.parametrize("kind", ["rate", "mean", "membrane"])
def test_scores_and_values_are_those_of_numpy(kind: str, over: str, window: tuple, interleaved: bool) -> None:
    x, unit, gain = outputs(), 0.25, 3.0
    part = x[:, slice(*window)]
    whole = {"max": part.max(1), "mean": part.mean(1)}.get(over or ("mean" if kind == "mean" else "sum"), part.sum(1))
    want = np.rint(420 * whole).reshape(5, 2, 3).sum(1) if interleaved else np.rint(420 * whole).reshape(5, 3, 2).sum(2)
    readout = Readout(kind, "n", over=over, window=window, groups=3, interleaved=interleaved, gain=gain)
    readout = replace(readout, scale=unit * real_scale(readout, 7))
    found = scores(readout, x)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(judged(readout, found), want.argmax(1))
    np.testing.assert_allclose(values(readout, found, 6, 7), want / 420 * unit * gain)


def test_an_offset_of_the_membranes_counts_once_a_step_and_output() -> None:
    x = outputs()
    for over, want in (("", (x + 0.5).sum(1)), ("mean", (x + 0.5).mean(1)), ("max", (x + 0.5).max(1))):
        readout = Readout("membrane", "n", over=over, groups=2, gain=2.0, offset=0.5)
        readout = replace(readout, scale=real_scale(readout, 7))
        np.testing.assert_allclose(values(readout, scores(readout, x), 6, 7), 2 * want.reshape(5, 2, 3).sum(2))


def test_the_first_spike_of_a_group() -> None:
    x = np.zeros((2, 4, 4), np.int64)
    x[0, 2, 1] = x[0, 1, 2] = x[1, 3, 0] = 1
    readout = Readout("first", "n", groups=2)
    assert scores(readout, x).tolist() == [[2, 1], [3, 4]]
    assert judged(readout, scores(readout, x)).tolist() == [1, 0]
    assert values(readout, scores(readout, x), 4, 4).tolist() == [[2, 1], [3, 4]]


def test_a_mean_over_fewer_steps_than_planned() -> None:
    x = outputs()[:, :4]
    readout = Readout("mean", "n", scale=0.5 / 7)
    np.testing.assert_allclose(values(readout, scores(readout, x), 6, 7, done=4), x.mean(1) * 0.5)
    late = replace(readout, window=(5, None))
    assert not scores(late, x).any()  # watched before the first step that counts


def test_groups_are_neighbours_or_interleaved() -> None:
    assert grouped(np.arange(6)[None], 3).tolist() == [[1, 5, 9]]
    assert grouped(np.arange(6)[None], 3, interleaved=True).tolist() == [[3, 5, 7]]


@pytest.mark.parametrize(
    ("readout", "operations"),
    [
        (Readout("mean", "n"), 0),  # the accumulator summed it up
        (Readout("mean", "n", groups=2), 4),
        (Readout("rate", "n"), 6 * 9),
        (Readout("rate", "n", window=LAST), 0),
        (Readout("membrane", "n", over="max", window=(5, None), groups=3), 6 * 4 + 3),
    ],
)
def test_the_hosts_operations(readout: Readout, operations: int) -> None:
    assert host_operations(readout, 6, 10) == operations


REFUSED = {
    "groups": (
        Readout("rate", "n", groups=4),
        "bad-population: the outputs cannot be divided into so many groups of equal size\n  where: n\n"
        "  needed: 4 groups\n  limit: 6 outputs\n"
        "  hint: give the number of classes, a divisor of the number of outputs",
    ),
    "steps": (
        Readout("rate", "n", window=(12, None)),
        "bad-readout-steps: none of the steps of a sample counts for the prediction\n  where: n\n  needed: steps[12:]\n"
        "  limit: 10 steps\n  hint: read other steps, or give the sample more of them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        require_fitting(REFUSED[name][0], 6, 10)
    assert str(caught.value) == REFUSED[name][1]


def test_the_rule_in_words() -> None:
    assert told(Readout("rate", "n"), 10) == "spike counts"
    assert told(Readout("rate", "n", groups=10), 100) == "spike counts, summed over 10 groups of 10 outputs"
    assert told(Readout("membrane", "n", over="max"), 4) == "maximum of membranes over the steps"
    assert told(Readout("mean", "n", window=LAST), 4) == "values of the last layer of the last step"
    assert told(Readout("mean", "n", window=(2, None)), 4) == "mean of values of the last layer over the steps [2:]"
    assert told(Readout("first", "n"), 4) == "the earliest first spike"


STEPS = 6
NODES = {"input": (5,), "h": (8,), "n": (6,)}


def network(reset: str = "zero", v_reset: float = 0.0, timing: str = "same_step") -> Source:
    """5 inputs -> 8 LIF neurons -> 6 LIF neurons, in NIR's own steps of 1."""
    rng = np.random.default_rng(3)

    def lif(count: int, threshold: float) -> nir.LIF:
        full = partial(np.full, count)
        return nir.LIF(full(2.0), full(2.0), full(0.0), full(threshold), v_reset=full(v_reset))

    nodes = {
        "input": nir.Input({"input": np.array([5])}),
        "w": nir.Linear(rng.normal(0.4, 0.6, (8, 5))),
        "h": lif(8, 0.6),
        "v": nir.Affine(rng.normal(0.1, 0.7, (6, 8)), rng.normal(0, 0.1, 6)),
        "n": lif(6, 0.8),
        "output": nir.Output({"output": np.array([6])}),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)), type_check=False)
    semantics = Semantics(**{**PLAIN, "dt": 1.0, "reset": reset, "reset_timing": timing, "v_init": "v_reset"})
    return Source(graph, semantics, Deployment(STEPS, "spikes", (5,), "rate"), {"file": "toy"})


def spikes(count: int = 12) -> np.ndarray:
    return (np.random.default_rng(5).random((count, STEPS, 5)) < 0.5).astype(np.uint8)


def by_hand(source: Source, x: np.ndarray) -> np.ndarray:
    """Membranes (B, T, 6) of the last layer after its reset, by NIR's equation with dt / tau = 1 / 2, R = 2."""
    nodes, s = source.graph.nodes, source.semantics
    values: np.ndarray = x.astype(float)
    for matrix, name in (("w", "h"), ("v", "n")):
        current = values @ nodes[matrix].weight.T + getattr(nodes[matrix], "bias", 0.0)
        v = np.full((len(x), current.shape[2]), float(nodes[name].v_reset[0]))
        fired, kept = np.zeros_like(current), np.zeros_like(current)
        late = np.zeros_like(v)
        for t in range(STEPS):
            v = v / 2 + current[:, t] - late
            fired[:, t] = v > nodes[name].v_threshold
            charge = fired[:, t] * nodes[name].v_threshold
            if s.reset == "subtract":
                v, late = (v, charge) if s.reset_timing == "next_step" else (v - charge, 0.0)
            else:
                v = np.where(fired[:, t] > 0, nodes[name].v_reset, v)
            kept[:, t] = v
        values = fired
    return kept


RESETS = {
    "to zero": ("zero",),
    "to a potential": ("v_reset", -0.25),
    "by subtraction": ("subtract",),
    "by subtraction a step later": ("subtract", 0.0, "next_step"),
}


@pytest.mark.parametrize("name", RESETS)
def test_the_membrane_that_a_neuron_keeps(name: str) -> None:
    """Float: to rounding errors; integers: what their spikes leave of it, equal in every engine."""
    source, x = network(*RESETS[name]), spikes()
    source = replace(source, deployment=replace(source.deployment, readout="membrane-last"))
    want = by_hand(source, x)
    found = snnhw.run_float(source, x)
    np.testing.assert_allclose(found["values"], want[:, -1], atol=1e-9)
    artifact = snnhw.compile(source, target="loihi2")
    integers = [snnhw.run(artifact, x, engine) for engine in ("fast", "reference", "onnx")]
    for other in integers[1:]:
        for key in ("output", "scores", "values", "predictions"):
            np.testing.assert_array_equal(other[key], integers[0][key])
    error = np.abs(integers[0]["values"] - want[:, -1])
    assert np.median(error) < 0.02
    c = snnhw.compare(source, artifact, x)
    assert c.agreement == np.mean(integers[0]["predictions"] == want[:, -1].argmax(1))


@pytest.mark.parametrize(
    "readout", ["rate", "rate-mean", "last", "max", "sum[2:]", "membrane", "membrane-max", "first"]
)
def test_from_the_deployment_to_the_run(readout: str, tmp_path: Path) -> None:
    """The same in the artifact, in a NIR file of it, and recomputed from the raw outputs."""
    source, x = network("subtract"), spikes()
    deployment = replace(source.deployment, readout=readout, population=3, gain=2.0)
    graph = nir.NIRGraph(source.graph.nodes, source.graph.edges, to_metadata(source.semantics, deployment), False)
    write_nir(graph, tmp_path / "n.nir")
    save(snnhw.compile(tmp_path / "n.nir", target="loihi2"), tmp_path / "n.snnhw")
    artifact = load(tmp_path / "n.snnhw")
    assert artifact.deployment == deployment
    found = snnhw.run(artifact, x)
    groups = lambda y: y.reshape(len(y), 3, 2)  # noqa: E731
    raw, unit = found["output"].astype(float), float(found["scale"]) / 2
    if readout == "first":
        fired = np.where(raw.any(1), raw.argmax(1), STEPS).reshape(-1, 3, 2).min(2)
        np.testing.assert_array_equal(found["predictions"], fired.argmin(1))
        return
    over = {"last": raw[:, -1], "max": raw.max(1), "sum[2:]": raw[:, 2:].sum(1), "membrane-max": raw.max(1)}
    want = groups(over.get(readout, raw.sum(1))).sum(2)
    np.testing.assert_array_equal(found["scores"], want)
    np.testing.assert_array_equal(found["predictions"], want.argmax(1))
    np.testing.assert_allclose(found["values"], 2 * unit * want)
    if "membrane" not in readout:
        assert unit == pytest.approx(1 / STEPS if readout == "rate-mean" else 1.0)
    np.testing.assert_array_equal(snnhw.open(artifact).advance(x).predictions, found["predictions"])


def test_a_population_that_does_not_divide_the_outputs() -> None:
    source = network()
    source = replace(source, deployment=replace(source.deployment, population=4))
    with pytest.raises(SourceError, match="bad-population"):
        snnhw.compile(source, target="loihi2")


def test_other_steps_keep_a_mean_a_mean() -> None:
    source = network()
    source = replace(source, deployment=replace(source.deployment, readout="rate-mean[1:]"))
    artifact = snnhw.compile(source, target="loihi2")
    longer = with_input(artifact, None, 11, None)
    assert (artifact.network.readout.scale, longer.network.readout.scale) == (
        pytest.approx(1 / 5),
        pytest.approx(1 / 10),
    )
    with pytest.raises(SourceError, match="bad-readout-steps"):
        with_input(artifact, None, 1, None)


def test_membranes_that_reset_to_different_potentials_are_not_read() -> None:
    source = network("v_reset", -0.25)
    source.graph.nodes["n"].v_reset[2] = 0.1
    source = replace(source, deployment=replace(source.deployment, readout="membrane"))
    with pytest.raises(LoweringError) as caught:
        snnhw.compile(source, target="loihi2")
    assert str(caught.value) == (
        "bad-readout: membranes are read that reset to different potentials\n  where: n\n  needed: -0.25 to 0.1\n"
        "  limit: one reset potential\n  hint: read the spikes, or give all neurons of the layer one v_reset"
    )


@pytest.mark.parametrize("window", [(None, None), (2, None), (1, 5), (-3, None), (-4, -1), (None, -2), (6, 9)])
@pytest.mark.parametrize(("kind", "over"), [("rate", ""), ("rate", "max"), ("membrane", "max"), ("first", "")])
def test_scores_of_steps_that_come_one_by_one(kind: str, over: str, window: Any) -> None:
    rng = np.random.default_rng(5)
    for groups in (0, 2):
        readout = Readout(kind, "n", over=over, window=(None, None) if kind == "first" else window, groups=groups)
        output = (rng.random((3, 8, 4)) < 0.2) * rng.integers(1 if kind == "first" else -4, 5, (3, 8, 4))
        running, done = Running(readout), 0
        for k in (0, 1, 2, 0, 4, 1):
            done += k
            found = running.add(output[:, done - k : done])
            np.testing.assert_array_equal(found, scores(readout, output[:, :done]))
            np.testing.assert_array_equal(found, _by_hand(readout, output[:, :done]))
            assert running.held is None or min(window[0] or 0, window[1] or 0) < 0 or running.held.ndim == 2
        assert done == running.steps == 8


def _by_hand(readout: Readout, output: Any) -> Any:
    """One output and sample at a time, in Python."""
    found = np.zeros((len(output), output.shape[2]), np.int64)
    for at in np.ndindex(*found.shape):
        steps = output[at[0], :, at[1]].tolist()
        if readout.kind == "first":
            found[at] = next((t for t, s in enumerate(steps) if s > 0), len(steps))
            continue
        counted = steps[slice(*readout.window)]
        found[at] = max(counted, default=0) if readout.over == "max" else sum(counted)
    if readout.groups:
        parts = found.reshape(len(found), readout.groups, -1)
        return parts.min(axis=2) if readout.kind == "first" else parts.sum(axis=2)
    return found
