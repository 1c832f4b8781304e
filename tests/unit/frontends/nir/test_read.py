"""What real exporters leave in NIR files is read; what cannot be understood is named by node and field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from snnhw import hdf5
from snnhw.errors import SnnhwError
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.frontends.nir.graph import tidy_graph
from snnhw.frontends.nir.read import KINDS, read_graph
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from tests.unit.frontends.graphs import EDGES, graph, lif, nodes

Change = Callable[[h5py.Group], None]


def written(tmp_path: Path, change: Change | None = None, **parts: Any) -> Path:
    path = tmp_path / "net.nir"
    nir.write(path, graph(**parts))
    if change is not None:
        with h5py.File(path, "r+") as file:
            change(file)
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_nir(path, SourceOptions(**options))
    return str(caught.value)


def put(name: str, value: Any) -> Change:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return change


def drop(name: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


NEURON, FC = "node/nodes/neuron", "node/nodes/fc"


def test_every_type_of_nir_is_read() -> None:
    assert {"NIRGraph", *KINDS} >= {name for name in nir.ir.__all__ if isinstance(getattr(nir.ir, name), type)} - {
        "NIRNode"
    }


def test_scalars_stand_for_all_neurons(tmp_path: Path) -> None:
    """0-d datasets, which nir.read refuses behind a vector."""

    def change(file: h5py.File) -> None:
        for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            value = file[f"{NEURON}/{name}"][0]
            del file[f"{NEURON}/{name}"]
            file[f"{NEURON}/{name}"] = value

    x = np.random.default_rng(0).random((2, 4, 3))
    vectors = load_nir(written(tmp_path))
    scalars = load_nir(written(tmp_path, change))
    assert np.array_equal(
        run(vectors.graph, vectors.semantics, x)["neuron"], run(scalars.graph, scalars.semantics, x)["neuron"]
    )
    one = load_nir(written(tmp_path, put(f"{NEURON}/tau", 2e-4)))
    assert one.graph.nodes["neuron"].tau.shape == (2,)
    bias = load_nir(written(tmp_path, put(f"{FC}/bias", 0.5)))
    assert bias.graph.nodes["fc"].bias.tolist() == [0.5, 0.5]


def test_v_reset_may_be_missing(tmp_path: Path) -> None:
    """nir 1.0.4 had none."""
    source = load_nir(written(tmp_path, drop(f"{NEURON}/v_reset")))
    assert source.graph.nodes["neuron"].v_reset.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("version", ["0.1", "1.0.4", "99.0.0"])
def test_any_version_that_can_be_read_is(version: str, tmp_path: Path) -> None:
    assert load_nir(written(tmp_path, put("version", version))).graph.edges == EDGES


def test_no_version(tmp_path: Path) -> None:
    assert load_nir(written(tmp_path, drop("version"))).graph.edges == EDGES


def test_edges_in_any_order(tmp_path: Path) -> None:
    source = load_nir(written(tmp_path, edges=EDGES[::-1]))
    assert sorted(source.graph.edges) == sorted(EDGES)


def test_names_with_dots(tmp_path: Path) -> None:
    parts = nodes()
    parts["block.0.neuron"] = parts.pop("neuron")
    edges = [("input", "fc"), ("fc", "block.0.neuron"), ("block.0.neuron", "output")]
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(parts, edges, metadata=graph().metadata, type_check=False))
    assert "block.0.neuron" in load_nir(path).graph.nodes


def conv(**options: Any) -> dict[str, nir.NIRNode]:
    parts = {
        "weight": np.ones((4, 1, 3, 2)),
        "stride": (1, 2),
        "padding": (1, 0),
        "dilation": 1,
        "groups": 2,
        "bias": np.zeros(4),
    }
    return {
        "input": nir.Input({"input": np.array([2, 6, 6])}),
        "fc": nir.Conv2d(input_shape=(6, 6), **{**parts, **options}),
        "neuron": nir.IF(np.full(1, 1e4), np.ones(1), np.zeros(1)),
        "output": nir.Output({"output": np.array([4, 6, 3])}),
    }


def test_grouped_convolutions_with_kernels_that_are_not_square(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(conv(), EDGES, metadata={}, type_check=False))
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(path)
    source = load_nir(path, SourceOptions(dialect="spikingjelly", steps=2))
    assert source.graph.nodes["neuron"].r.shape == (4, 6, 3)
    assert source.graph.nodes["output"].output_type["output"].tolist() == [4, 6, 3]


def test_padding_by_name(tmp_path: Path) -> None:
    def padding(value: str, **options: Any) -> Any:
        file = nir.NIRGraph(conv(padding=value, **options), EDGES, metadata={}, type_check=False)
        return tidy_graph(file).nodes["fc"].padding

    odd = np.ones((4, 1, 3, 5))
    assert padding("same", weight=odd, stride=1) == (1, 2)
    assert padding("same", weight=odd, stride=1, dilation=2) == (2, 4)
    assert padding("valid") == (0, 0)
    for options in ({"stride": 1}, {"weight": odd, "stride": 2}):
        with pytest.raises(SnnhwError) as caught:
            padding("same", **options)
        assert str(caught.value).startswith(
            "bad-padding: the padding 'same' is not the same on both sides, or has a stride\n  where: fc.padding\n"
        )


def test_one_number_for_both_axes_of_a_pool(tmp_path: Path) -> None:
    parts = nodes()
    parts["fc"] = nir.AvgPool2d(np.array(2), np.array(2), np.array(0))
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(parts, EDGES, metadata={}, type_check=False), compression=None)
    pool = read_graph(path).nodes["fc"]
    assert (pool.kernel_size.tolist(), pool.padding.tolist()) == ([2, 2], [0, 0])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (drop(f"{NEURON}/tau"), "bad-nir: the node lacks a parameter\n  where: net.nir: neuron.tau\n"),
        (
            put(f"{NEURON}/beta", np.ones(2)),
            "bad-nir: the node has a parameter that LIF does not have\n  where: net.nir: neuron.beta\n",
        ),
        (drop(f"{NEURON}/type"), "bad-nir: the node has no type\n  where: net.nir: neuron\n"),
        (
            put(f"{NEURON}/tau", np.ones(3)),
            "bad-shape: the parameters of a LIF node do not fit together: operands could not be broadcast",
        ),
        (
            put(f"{FC}/weight", np.ones((2, 3, 1))),
            "bad-shape: the parameters of a Affine node do not fit together: the weight has 3 axes, not (outputs,",
        ),
        (put(f"{FC}/bias", np.zeros(5)), "bad-shape: the bias has another length than the weight has rows\n"),
        (
            put(f"{NEURON}/tau", np.array([1 + 2j, 1])),
            "bad-nir: a parameter does not hold numbers\n  where: net.nir: neuron.tau\n",
        ),
        (put("node/edges", np.zeros((2, 3))), "bad-nir: the edges are not pairs of names\n  where: net.nir\n"),
        (put("node/type", "LIF"), "bad-nir: the file holds a single LIF node, not a graph\n  where: net.nir\n"),
        (put("node/nodes/neuron/type", "GRU"), "unknown-node: nodes of type GRU are not supported\n"),
        (
            put("node/edges", [("input", "fc"), ("fc", "neuron"), ("neuron", "ghost")]),
            "bad-edge: the edge neuron -> ghost names a node that does not exist\n  where: ghost",
        ),
        (
            put("node/edges", [*EDGES, EDGES[1]]),
            "bad-edge: the edge fc -> neuron is there 2 times, which NIR does not define\n  where: neuron",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_understood(change: Change, text: str, tmp_path: Path) -> None:
    assert refusal(written(tmp_path, change)).startswith(text)


def test_a_parameter_that_is_a_group(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file[f"{NEURON}/tau"]
        file.create_group(f"{NEURON}/tau")

    text = refusal(written(tmp_path, change))
    assert text.startswith("bad-nir: a parameter is not an array\n  where: net.nir: neuron.tau\n")


def test_a_slash_in_a_name(tmp_path: Path) -> None:
    """HDF5 makes a group of it."""
    parts = nodes()
    parts["block/neuron"] = parts.pop("neuron")
    edges = [("input", "fc"), ("fc", "block/neuron"), ("block/neuron", "output")]
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph(parts, edges, metadata={}, type_check=False))
    assert refusal(path) == (
        "bad-name: NIR node names cannot hold '/'\n  where: net.nir: block\n  hint: name it without '/'"
    )


def test_graphs_nested_without_end(tmp_path: Path) -> None:
    inner = nir.NIRGraph(nodes(), EDGES, metadata={}, type_check=False)
    for _ in range(40):
        inner = nir.NIRGraph({"inside": inner}, [], metadata={}, type_check=False)
    nir.write(tmp_path / "net.nir", inner)
    assert refusal(tmp_path / "net.nir").startswith("bad-nir: graphs are nested too deep\n")


def test_a_group_that_contains_itself(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["node/nodes/again"] = file["node"]

    text = refusal(written(tmp_path, change))
    assert text.startswith("bad-hdf5: a group of the file is there twice\n  where: net.nir: /node")


def test_a_file_of_too_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_ITEMS", 10)
    assert refusal(written(tmp_path)).startswith("bad-hdf5: the file has too many parts\n")


def test_an_absurd_shape_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file[f"{FC}/weight"]
        file[FC].create_dataset("weight", (1 << 20, 1 << 20), "f8", chunks=(1024, 1024), compression="gzip")

    text = refusal(written(tmp_path, change))
    assert text.startswith("too-big: the file unpacks to too much\n  where: net.nir\n  needed: 87960930")


def test_what_was_read_can_be_written_for_nir_read(tmp_path: Path) -> None:
    source = load_nir(written(tmp_path, put(f"{NEURON}/tau", 2e-4)))
    write_nir(source.graph, tmp_path / "again.nir")
    assert set(nir.read(tmp_path / "again.nir").nodes) == set(source.graph.nodes)


def nested_and_flat() -> tuple[nir.NIRGraph, nir.NIRGraph]:
    """A layer with feedback as a graph inside the graph, and opened."""
    cell: dict[str, nir.NIRNode] = {"lif": lif(), "w_rec": nir.Linear(np.array([[0.0, 1.5], [-1.0, 0.5]]))}
    loop = [("lif", "w_rec"), ("w_rec", "lif")]
    ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    inner = nir.NIRGraph({**ends, **cell}, [*loop, ("input", "lif"), ("lif", "output")], metadata={}, type_check=False)
    nested = nir.NIRGraph({**nodes(), "neuron": inner}, EDGES, metadata={}, type_check=False)
    rest = {name: node for name, node in nodes().items() if name != "neuron"}
    opened = {**rest, **{f"neuron.{name}": node for name, node in cell.items()}}
    edges = [("neuron." + a, "neuron." + b) for a, b in loop]
    edges += [("input", "fc"), ("fc", "neuron.lif"), ("neuron.lif", "output")]
    return nested, nir.NIRGraph(opened, edges, metadata={}, type_check=False)


def test_a_file_with_a_graph_inside(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((3, 6, 3))
    found = []
    for i, graph_of in enumerate(nested_and_flat()):
        nir.write(tmp_path / f"{i}.nir", graph_of)
        source = load_nir(tmp_path / f"{i}.nir", SourceOptions(dialect="snntorch", steps=6))
        found.append(run(source.graph, source.semantics, x))
    assert found[0]["neuron.lif"].any()
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_two_inputs(tmp_path: Path) -> None:
    """Samples hold them flat, one after another."""
    parts = {**nodes(), "extra": nir.Input({"input": np.array([1, 2])}), "fc2": nir.Linear(np.eye(2))}
    edges = [*EDGES, ("extra", "fc2"), ("fc2", "neuron")]
    nir.write(tmp_path / "net.nir", nir.NIRGraph(parts, edges, metadata={}, type_check=False))
    said = SourceOptions(dialect="spikingjelly", data=(4, 7, 5))
    source = load_nir(tmp_path / "net.nir", said)
    assert (source.deployment.input_shape, source.deployment.steps) == ((5,), 7)
    assert refusal(tmp_path / "net.nir", dialect="snntorch", steps=7).startswith("lost-edge: ")


def scale_of(count: int) -> Change:
    def change(file: h5py.Group) -> None:
        del file[FC]
        file[f"{FC}/type"] = "Scale"
        file[FC].create_dataset("scale", (count,), "i1", chunks=(1 << 20,), compression="gzip")

    return change


def test_small_numbers_count_as_what_they_become(tmp_path: Path) -> None:
    """2 GiB of int8 are 16 GiB of float64."""
    text = refusal(written(tmp_path, scale_of(1 << 31)))
    assert text.startswith("too-big: the file unpacks to too much\n  where: net.nir\n  needed: 1717986")
    assert text.endswith(" bytes\n  limit: 4294967296 bytes")


def test_arrays_of_far_more_than_the_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path, scale_of(1 << 26))
    text = refusal(path)
    assert text.startswith("too-big: the file unpacks to too much\n  where: net.nir\n  needed: 536871")
    assert text.endswith(
        f" bytes\n  limit: 300 times the file's {path.stat().st_size} bytes\n"
        "  hint: if it is what it says, write it without compression"
    )
