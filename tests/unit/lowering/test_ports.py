"""Several inputs take their parts of a flat sample; several outputs are all there, one is read."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

from snnhw.encoding import real_inputs
from snnhw.errors import SnnhwError
from snnhw.evaluate import evaluate
from snnhw.frontends.source import Source
from snnhw.lowering.check import check_lowering
from snnhw.lowering.lower import lower, lower_for
from snnhw.machine import load_target
from tests.unit.lowering.runs import TARGETS, made_for
from tests.unit.lowering.timing import DT, Nodes, alone_equals_stream, bits, chained, integrator, source

STEPS = 5


def two_inputs() -> Source:
    """a (2, 2) and b (3) into one neuron layer."""
    nodes: Nodes = {
        "a": nir.Input({"input": np.array([2, 2])}),
        "flat": nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array([2, 2])}),
        "b": nir.Input({"input": np.array([3])}),
        "wa": nir.Linear(weight=np.array([[1.0, 0, 2, 0], [0, 1, 0, -1]])),
        "wb": nir.Linear(weight=np.array([[1.0, 1, 0], [2, 0, 1]])),
        "n": integrator(2, 2.0),
    }
    made = source(nodes, [*chained("a", "flat", "wa", "n", "output"), *chained("b", "wb", "n")], 7, 2, STEPS)
    del made.graph.nodes["input"]
    return made


@pytest.mark.parametrize("target", TARGETS)
def test_several_inputs(target: str) -> None:
    made, x = two_inputs(), bits(1, 4, STEPS, 7)
    network = lower_for(made, load_target(target))
    assert {p.name: (p.shape, p.part) for p in network.inputs} == {"a": ((2, 2), (0, 4, 7)), "b": ((3,), (4, 7, 7))}
    assert check_lowering(made, network, x).different == 0
    integers = made_for(made, target, x)
    assert integers.differences() == []
    alone_equals_stream(integers)
    v, want = np.zeros((4, 2)), np.zeros((4, STEPS, 2))
    for t in range(STEPS):
        v = v + x[:, t, :4] @ made.graph.nodes["wa"].weight.T + x[:, t, 4:] @ made.graph.nodes["wb"].weight.T
        want[:, t] = v > 2
        v = np.where(v > 2, 0.0, v)
    assert want.any()
    np.testing.assert_array_equal(integers.run_fast()["spikes/n"], want)


def test_analog_parts_have_their_own_range() -> None:
    made = two_inputs()
    made = replace(made, deployment=replace(made.deployment, encoding="direct", preprocessing="none"))
    x = np.random.default_rng(0).random((8, 1, 7)) * np.array([4.0] * 4 + [0.5] * 3)
    integers = made_for(made, "loihi2", np.broadcast_to(x, (8, STEPS, 7)))
    scales = {spec.population: spec.scale for spec in integers.made.inputs}
    assert scales["a"] == pytest.approx(x[..., :4].max() / 255)
    assert scales["b"] == pytest.approx(x[..., 4:].max() / 255)


def two_outputs(output: str | None = None) -> Source:
    nodes: Nodes = {
        "w": nir.Linear(weight=np.eye(3) * 2.0),
        "n": integrator(3, 3.0),
        "spikes": nir.Output({"output": np.array([3])}),
        "head": nir.Affine(weight=np.array([[1.0, 2, 0], [0, 1, 1]]), bias=np.array([1.0, 0.0])),
        "leak": nir.LI(tau=np.full(2, 2 * DT), r=np.full(2, 2.0), v_leak=np.zeros(2)),
        "membranes": nir.Output({"output": np.array([2])}),
    }
    edges = [*chained("input", "w", "n", "head", "output"), ("n", "spikes"), *chained("head", "leak", "membranes")]
    kind = {"spikes": "rate", "membranes": "membrane"}.get(output or "", "mean")
    made = source(nodes, edges, 3, 2, STEPS, kind)
    return replace(made, deployment=replace(made.deployment, output=output))


@pytest.mark.parametrize("output", ["spikes", "output", "membranes"])
def test_one_of_several_outputs_is_read(output: str) -> None:
    made, x = two_outputs(output), bits(2, 4, STEPS, 3)
    network = lower_for(made, load_target("loihi2"))
    assert network.readout.population == {"spikes": "n", "output": "output", "membranes": "leak"}[output]
    assert check_lowering(made, network, x).different == 0
    found = dict(evaluate(network, real_inputs(network, x)))
    head = found["n"] @ made.graph.nodes["head"].weight.T + np.array([1.0, 0.0])
    np.testing.assert_array_equal(found["output"], head)
    v = np.zeros((4, 2))
    for t in range(STEPS):
        v = 0.5 * v + head[:, t]
        np.testing.assert_array_equal(found["leak"][:, t], v)
    integers = made_for(made, "loihi2", x)
    assert integers.differences() == []
    np.testing.assert_array_equal(integers.run_fast()["spikes/n"], found["n"])


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (None, "the graph has several outputs: which one is the prediction read from?\n  where: membranes, output"),
        ("there", "the graph has no such output\n  where: there\n  limit: membranes, output, spikes"),
    ],
)
def test_which_output(output: str | None, text: str) -> None:
    made = two_outputs(output)
    with pytest.raises(SnnhwError) as caught:
        lower(made.graph, made.semantics, made.deployment, 63)
    assert str(caught.value).startswith(f"which-output: {text}")
    assert str(caught.value).endswith("hint: give --output-node NAME")
