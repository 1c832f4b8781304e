"""Sub-graphs, ends and shapes of a NIR graph in the one form that the rest reads."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from snnhw.errors import SnnhwError
from snnhw.frontends.nir.file import from_graph
from snnhw.frontends.nir.graph import dissolved, flattened, sample_shape, tidy_graph, with_ends
from snnhw.frontends.nir.shapes import is_whole, shapes, with_shapes
from snnhw.frontends.options import SourceOptions
from tests.unit.frontends.graphs import EDGES, graph, lif, nodes


def made(parts: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> nir.NIRGraph:
    return nir.NIRGraph(parts, edges, metadata={}, type_check=False)


def ends(shape: tuple[int, ...]) -> dict[str, nir.NIRNode]:
    return {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(shape)})}


def recurrent() -> nir.NIRGraph:
    """A sub-graph as snnTorch writes it."""
    parts = {**ends((2,)), "lif": lif(), "w_rec": nir.Linear(np.eye(2))}
    return made(parts, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])


def nested(inner: nir.NIRGraph) -> nir.NIRGraph:
    return made({**nodes(), "neuron": inner}, EDGES)


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        call(*args)
    return str(caught.value)


def test_a_sub_graph_is_opened() -> None:
    flat = flattened(nested(recurrent()))
    assert sorted(flat.nodes) == ["fc", "input", "neuron.lif", "neuron.w_rec", "output"]
    assert sorted(flat.edges) == [
        ("fc", "neuron.lif"),
        ("input", "fc"),
        ("neuron.lif", "neuron.w_rec"),
        ("neuron.lif", "output"),
        ("neuron.w_rec", "neuron.lif"),
    ]


def test_sub_graphs_of_sub_graphs() -> None:
    outer = made({**ends((2,)), "cell": recurrent()}, [("input", "cell"), ("cell", "output")])
    flat = flattened(nested(outer))
    assert sorted(flat.nodes) == ["fc", "input", "neuron.cell.lif", "neuron.cell.w_rec", "output"]
    assert ("fc", "neuron.cell.lif") in flat.edges
    assert ("neuron.cell.lif", "output") in flat.edges


def test_a_sub_graph_that_hands_its_input_on() -> None:
    """A skip edge inside: input and layer both reach the output."""
    inner = made({**ends((2,)), "lif": lif()}, [("input", "lif"), ("lif", "output"), ("input", "output")])
    assert sorted(flattened(nested(inner)).edges) == [
        ("fc", "neuron.lif"),
        ("fc", "output"),
        ("input", "fc"),
        ("neuron.lif", "output"),
    ]


def test_identity_nodes_are_dissolved() -> None:
    same = nir.ir.graph.Identity({"input": np.array([2])})
    flat = flattened(made({**nodes(), "same": same}, [*EDGES[:1], ("fc", "same"), ("same", "neuron"), *EDGES[2:]]))
    assert sorted(flat.edges) == sorted(EDGES)
    assert "same" not in flat.nodes


def test_x_plus_x_stays_visible() -> None:
    """Two ways that become one edge: the edge is there twice, which validation names."""
    assert dissolved([("a", "b"), ("b", "c"), ("a", "c")], "b") == [("a", "c"), ("a", "c")]


def test_ports_of_a_sub_graph_that_are_not_one() -> None:
    inner = recurrent()
    inner.nodes["second"] = nir.Input({"input": np.array([2])})
    assert refused(flattened, nested(inner)) == (
        "sub-graph: a sub-graph has 2 Input nodes: which one an edge means, NIR does not say\n"
        "  where: neuron\n  needed: input, second\n  limit: one Input node\n"
        "  hint: open the sub-graph before it is exported"
    )


def test_two_nodes_of_one_name() -> None:
    both = made({**nodes(), "neuron": recurrent(), "neuron.lif": lif()}, EDGES)
    assert refused(flattened, both).startswith("bad-name: two nodes have one name once sub-graphs are opened\n")


def test_an_edge_to_nowhere_inside_a_sub_graph() -> None:
    inner = recurrent()
    inner.edges.append(("lif", "ghost"))
    text = refused(flattened, nested(inner))
    assert text == "bad-edge: the edge lif -> ghost names a node that does not exist\n  where: neuron.ghost"


def test_missing_ends_are_added_where_only_one_node_can_be_meant() -> None:
    parts = nodes()
    del parts["input"], parts["output"]
    whole = tidy_graph(made(parts, [("fc", "neuron")]))
    assert sorted(whole.edges) == sorted(EDGES)
    assert whole.nodes["input"].input_type["input"].tolist() == [3]


def test_missing_ends_that_are_named() -> None:
    parts = {**nodes(), "second": nir.Linear(np.ones((2, 3)))}
    del parts["input"]
    text = refused(with_ends, made(parts, [("fc", "neuron"), ("second", "neuron"), ("neuron", "output")]))
    assert text.startswith("inputs-outputs: the graph has 0 Input nodes\n  needed: Input at fc, second\n")
    parts = {**nodes(), "second": lif()}
    del parts["output"]
    text = refused(with_ends, made(parts, [("input", "fc"), ("fc", "neuron"), ("fc", "second")]))
    assert text.startswith("inputs-outputs: the graph has 0 Output nodes\n  needed: Output at neuron, second\n")


@pytest.mark.parametrize(
    ("declared", "first", "shape"),
    [
        ((3,), None, (3,)),
        ((1, 3), None, (3,)),
        ((1, 50, 3), None, (3,)),
        (None, None, (3,)),
        ((1, 2, 8, 8), nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), (2, 8, 8)),
        ((7, 2, 8), nir.Conv1d(8, np.ones((2, 2, 3)), 1, 0, 1, 1, np.zeros(2)), (2, 8)),
        ((1, 4), nir.Scale(np.ones(4)), (4,)),
        (None, lif(5), (5,)),
        ((2, 5), nir.Flatten(None, 0, -1), (2, 5)),
    ],
)
def test_batch_and_time_axes_of_exporters(
    declared: tuple[int, ...] | None, first: nir.NIRNode | None, shape: tuple[int, ...]
) -> None:
    parts = nodes()
    parts["input"] = nir.Input({"input": None if declared is None else np.array(declared)})
    if first is not None:
        parts["fc"] = first
    assert sample_shape(made(parts, EDGES), "input") == shape


def test_shapes_that_nobody_says() -> None:
    parts = {**nodes(), "input": nir.Input({"input": None}), "fc": nir.Flatten(None, 0, -1)}
    assert refused(sample_shape, made(parts, EDGES), "input") == (
        "bad-shape: the file does not say the shape of its input\n  where: input\n  hint: give the Input node a shape"
    )
    parts["input"] = nir.Input({"input": np.array([3, 0])})
    text = refused(sample_shape, made(parts, EDGES), "input")
    assert text.startswith("bad-shape: a shape has an axis without values\n  where: input\n  needed: (3, 0)")
    parts["input"] = nir.Input({"input": np.array([-3])})
    text = refused(shapes, made(parts, EDGES))
    assert text == "bad-shape: a size of an input is negative\n  where: input\n  needed: (-3,)\n  limit: >= 0"


def test_every_shape_of_a_graph() -> None:
    assert shapes(graph())["fc"] == ((3,), (2,))
    loop = flattened(nested(recurrent()))
    assert shapes(loop)["neuron.w_rec"] == ((2,), (2,))


def test_numbers_become_arrays() -> None:
    neuron = nir.IF(np.asarray(1e4), np.asarray(1.0), np.asarray(0.0))
    open_graph = graph({"neuron": neuron, "output": nir.Output({"output": None})})
    assert is_whole(graph())
    assert not is_whole(open_graph)
    whole = with_shapes(open_graph)
    assert is_whole(whole)
    assert whole.nodes["neuron"].r.tolist() == [1e4, 1e4]
    assert whole.nodes["output"].output_type["output"].tolist() == [2]


def test_shapes_of_our_own_files_are_kept() -> None:
    """A matrix may read the last of several axes."""
    parts = {**nodes(), "input": nir.Input({"input": np.array([2, 3])})}
    assert tidy_graph(made(parts, EDGES), exact=True).nodes["input"].input_type["input"].tolist() == [2, 3]
    assert tidy_graph(made(parts, EDGES)).nodes["input"].input_type["input"].tolist() == [3]


def test_a_matrix_that_makes_too_much_of_its_input() -> None:
    parts = {**nodes(), "input": nir.Input({"input": np.array([1 << 20, 1])}), "fc": nir.Linear(np.ones((512, 1)))}
    assert refused(shapes, made(parts, EDGES)) == (
        "too-big: one sample has too many values\n  where: fc\n"
        "  needed: 1 steps of 1048576 x 512 values\n  limit: 268435456 values"
    )


def conv2d(**changes: Any) -> nir.NIRNode:
    parts = {"weight": np.ones((2, 1, 3, 3)), "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return nir.Conv2d(input_shape=None, bias=np.zeros(2), **{**parts, **changes})


def pool2d(kernel: int, stride: int, padding: int) -> nir.NIRNode:
    return nir.AvgPool2d(*(np.array([n, n]) for n in (kernel, stride, padding)))


@pytest.mark.parametrize(
    ("node", "needed"),
    [
        (conv2d(padding=(10**6, 10**6)), "kernel (3, 3), padding (1000000, 1000000) on 1 x 8 x 8 values"),
        (conv2d(padding=(2**62, 0)), f"kernel (3, 3), padding ({2**62}, 0) on 1 x 8 x 8 values"),
        (conv2d(padding=10**5, stride=10**5), "kernel (3, 3), padding (100000, 100000) on 1 x 8 x 8 values"),
        (conv2d(padding=10**5, dilation=10**5), "kernel (3, 3), padding (100000, 100000) on 1 x 8 x 8 values"),
        (
            pool2d(10**9, 2, 5 * 10**8),
            f"kernel ({10**9}, {10**9}), padding ({5 * 10**8}, {5 * 10**8}) on 1 x 8 x 8 values",
        ),
    ],
)
def test_windows_that_no_memory_holds(node: nir.NIRNode, needed: str) -> None:
    parts = {**nodes(), "input": nir.Input({"input": np.array([1, 8, 8])}), "fc": node}
    assert refused(shapes, made(parts, EDGES)) == (
        "too-big: the windows of a convolution or pool hold too many values\n  where: fc\n"
        f"  needed: {needed}\n  limit: 268435456 values"
    )


def test_a_long_window_of_one_axis() -> None:
    node = nir.Conv1d(None, np.ones((2, 1, 3)), 1, 10**9, 1, 1, np.zeros(2))
    parts = {**nodes(), "input": nir.Input({"input": np.array([1, 8])}), "fc": node}
    assert refused(shapes, made(parts, EDGES)).startswith("too-big: the windows of a convolution or pool hold too many")


def test_windows_that_fit() -> None:
    parts = {**nodes(), "input": nir.Input({"input": np.array([1, 8, 8])}), "fc": conv2d(padding=2, stride=(2, 1))}
    assert shapes(made(parts, EDGES))["fc"] == ((1, 8, 8), (2, 5, 10))
    parts["fc"] = pool2d(3, 2, 1)
    assert shapes(made(parts, EDGES))["fc"] == ((1, 8, 8), (1, 4, 4))


def test_added_ends_are_said() -> None:
    parts = {name: node for name, node in nodes().items() if name not in ("input", "output")}
    bare = nir.NIRGraph(parts, [("fc", "neuron")], type_check=False)
    source = from_graph(bare, SourceOptions(dialect="nir", semantics={"dt": 1e-4}, steps=3), {"file": "net.nir"})
    row = source.origin["flags"]["ends"]
    assert row["from"] == "assumed"
    assert set(row["value"].split(", ")) == set(source.graph.nodes) - set(parts)
    assert "no such Input or Output node" in row["note"]
