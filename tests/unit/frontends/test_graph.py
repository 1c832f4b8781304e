"""What `nir.read` accepts and we do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.graph import flow, predecessors, validate
from snnhw.frontends.simulate import run
from snnhw.lowering.lower import lower
from tests.unit.frontends.graphs import EDGES, deployment, graph, lif, semantics

SPARE = {"spare": nir.Linear(weight=np.eye(3))}
KNOWN = (
    "Affine, AvgPool2d, Conv1d, Conv2d, CubaLI, CubaLIF, Delay, Flatten, I, IF, LI, LIF, Linear, Scale, SumPool2d, "
    "Threshold"
)


@dataclass(eq=False)
class Unknown(nir.NIRNode):
    """A node of a newer NIR."""


def li(size: int = 2) -> nir.LI:
    return nir.LI(tau=np.full(size, 2e-4), r=np.ones(size), v_leak=np.zeros(size))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "unknown node",
        {"changes": {"neuron": Unknown()}},
        "unknown-node: nodes of type Unknown are not supported\n"
        f"  where: neuron\n  limit: {KNOWN}\n  hint: replace the node by supported ones",
    ),
    (
        "NaN weight",
        {"changes": {"fc": nir.Linear(weight=np.array([[1.0, np.nan, 3], [np.inf, 1, 0.5]]))}},
        "not-finite: 2 values are NaN or infinite\n"
        "  where: fc.weight[0, 1]\n  limit: finite numbers\n  hint: retrain or repair the checkpoint",
    ),
    (
        "infinite threshold",
        {"changes": {"neuron": lif(v_threshold=np.inf)}},
        "not-finite: 2 values are NaN or infinite\n  where: neuron.v_threshold\n",
    ),
    (
        "tau zero",
        {"changes": {"neuron": lif(tau=0.0)}},
        "bad-parameter: a time constant is not positive\n  where: neuron.tau\n  limit: tau > 0",
    ),
    ("tau negative", {"changes": {"neuron": lif(tau=-1.0)}}, "bad-parameter: a time constant is not positive\n"),
    (
        "bias of another length",
        {"changes": {"fc": nir.Affine(weight=np.ones((2, 3)), bias=np.ones(1))}},
        "bad-shape: the bias has another length than the weight has rows\n"
        "  where: fc.bias\n  needed: (2,)\n  limit: got (1,)",
    ),
    (
        "no input",
        {"changes": {"input": nir.Scale(np.ones(3))}},
        "inputs-outputs: the graph has no Input node\n"
        "  limit: at least one\n  hint: export the inputs and the outputs that are read",
    ),
    ("no output", {"changes": {"output": lif()}}, "inputs-outputs: the graph has no Output node\n"),
    (
        "threshold below the reset",
        {"changes": {"neuron": lif(v_threshold=-1.0)}},
        "bad-parameter: a threshold is below the value that the membrane is reset to\n"
        "  where: neuron.v_threshold\n  needed: -1\n  limit: v_reset = 0 or more\n"
        "  hint: such a neuron fires for ever: repair the checkpoint",
    ),
    (
        "current constant zero",
        {"changes": {"neuron": nir.CubaLIF(np.zeros(2), *np.ones((4, 2)))}},
        "bad-parameter: a time constant is not positive\n  where: neuron.tau_syn\n  limit: tau_syn > 0",
    ),
    (
        "an island",
        {"changes": {"a": lif(), "b": nir.Linear(weight=np.eye(2))}, "edges": [*EDGES, ("a", "b"), ("b", "a")]},
        "unreachable: no way leads from an input to the node\n  where: a, b\n  hint: remove the node, or connect it",
    ),
    (
        "a loop that nothing reads",
        {
            "changes": {"a": lif(), "b": nir.Linear(weight=np.eye(2))},
            "edges": [*EDGES, ("neuron", "a"), ("a", "b"), ("b", "a")],
        },
        "unreachable: no way leads from the node to an output\n  where: a, b\n",
    ),
    (
        "a membrane that feeds a layer",
        {
            "changes": {"neuron": li(), "w": nir.Linear(weight=np.eye(2))},
            "edges": [*EDGES[:2], ("neuron", "w"), ("w", "output")],
        },
        "filter-place: a node of type LI must feed one neuron or output and be its only input\n"
        "  where: neuron -> w\n  limit: IF, LIF, Threshold, Output\n"
        "  hint: give every neuron its own filter, in front of all its inputs",
    ),
    (
        "dangling edge",
        {"edges": [*EDGES, ("fc", "nowhere")]},
        "bad-edge: the edge fc -> nowhere names a node that does not exist\n  where: nowhere",
    ),
    (
        "edge twice",
        {"edges": [*EDGES, EDGES[1]]},
        "bad-edge: the edge fc -> neuron is there 2 times, which NIR does not define\n"
        "  where: neuron\n  hint: multiply by a Scale node",
    ),
    (
        "no way in",
        {"edges": EDGES[1:]},
        "no-input: the node has no incoming edge\n  where: fc\n"
        "  hint: exporters of other frameworks lose residual edges: compile the module or checkpoint instead",
    ),
    (
        "no way out",
        {"changes": SPARE, "edges": [*EDGES, ("input", "spare")]},
        "no-output: nothing reads the node's output\n  where: spare\n  hint: remove the node, or connect it",
    ),
    (
        "output in the middle",
        {"changes": {"n2": lif()}, "edges": [*EDGES, ("output", "n2"), ("n2", "neuron")]},
        "no-output: the output node feeds another node\n  where: output\n",
    ),
]


@pytest.mark.parametrize(("parts", "text"), [pytest.param(p, t, id=i) for i, p, t in REFUSED])
def test_refused(parts: dict[str, Any], text: str) -> None:
    with pytest.raises(SourceError) as caught:
        validate(graph(**parts))
    assert str(caught.value).startswith(text)


def test_order_and_neighbours_do_not_depend_on_the_order_of_edges() -> None:
    one, other = graph(), graph(edges=EDGES[::-1])
    assert predecessors(one) == predecessors(other)
    assert flow(one).order == flow(other).order == ("input", "fc", "neuron", "output")


NODE_SHAPES: list[tuple[str, dict[str, nir.NIRNode], str]] = [
    (
        "weight too wide",
        {"fc": nir.Linear(weight=np.ones((2, 4)))},
        "bad-shape: the node does not take its input: ",
    ),
    (
        "flatten beyond the dimensions",
        {"fc": nir.Flatten(start_dim=0, end_dim=3, input_type={"input": np.array([3])})},
        "bad-shape: the node does not take its input: ",
    ),
    (
        "threshold of another shape",
        {"neuron": nir.IF(r=np.ones(3), v_threshold=np.array([1.0, 2, 3]), v_reset=np.zeros(3))},
        "bad-shape: a neuron parameter has another shape than what arrives\n"
        "  where: neuron.r\n  needed: (2,)\n  limit: got (3,)",
    ),
    (
        "v_reset against reset zero",
        {"neuron": lif(v_reset=0.25)},
        "bad-semantics: the reset is to zero, but the node's v_reset is not 0\n  hint: reset 'v_reset'",
    ),
]


@pytest.mark.parametrize(("changes", "text"), [pytest.param(c, t, id=i) for i, c, t in NODE_SHAPES])
def test_refused_by_lowering(changes: dict[str, nir.NIRNode], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        lower(graph(changes), semantics(), deployment(), 63)
    assert str(caught.value).startswith(text)


def test_inputs_of_different_shapes() -> None:
    edges = [*EDGES, ("input", "neuron")]
    with pytest.raises(SourceError) as caught:
        lower(graph(edges=edges), semantics(), deployment(), 63)
    assert str(caught.value) == ("bad-shape: the inputs of the node have different shapes: (2,), (3,)\n  where: neuron")


def test_simulation_follows_the_written_equation() -> None:
    """v = 0.5 v + W x + b, spike above 1, reset to zero: worked by hand."""
    x = np.array([[[0.25, 0.0, 0.0], [0.25, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    spikes = run(graph(), semantics(), x)["neuron"]
    # fc[0]: 0.75, 0.75, 0.5, 1.5 -> v 0.75, 1.125*, 0.5, 1.75*
    np.testing.assert_array_equal(spikes[0, :, 0], [0, 1, 0, 1])
    np.testing.assert_array_equal(spikes[0, :, 1], [0, 0, 0, 0])


def test_two_edges_sum() -> None:
    doubled = graph(
        {"n2": lif(), "twice": nir.Scale(scale=np.full(2, 2.0))},
        [*EDGES[:2], ("neuron", "twice"), ("twice", "n2"), ("neuron", "n2"), ("n2", "output")],
    )
    found = run(doubled, semantics(), np.ones((1, 4, 3)))
    np.testing.assert_array_equal(found["n2"], found["neuron"])  # 3 s > 1 fires at once
