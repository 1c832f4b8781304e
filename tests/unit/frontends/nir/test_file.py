"""NIR files: ours come back as they were, others are refused with the question they leave open."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnhw import limits
from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends import load_source
from snnhw.frontends.nir import file as nir_file
from snnhw.frontends.nir.file import load_nir, write_nir
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from snnhw.lowering.lower import lower
from snnhw.network_text import format_network
from snnhw.semantics import METADATA_KEY
from snnhw.zoo.neurons import IF
from tests.unit.frontends.graphs import graph, lif
from tests.unit.frontends.modules import imported, random_module, values


def written(path: Path, **parts: object) -> Path:
    file = path / "net.nir"
    nir.write(file, graph(**parts))  # type: ignore[arg-type]
    return file


def refusal(path: Path) -> str:
    with pytest.raises(SnnhwError) as caught:
        load_source(path)
    return str(caught.value)


@pytest.mark.parametrize("seed", range(8))
def test_the_fields_own_reader_takes_our_files(seed: int, tmp_path: Path) -> None:
    """`nir.read` with its type check; nir 1.0.8 refuses every grouped convolution (it miscounts the channels)."""
    module, shape, readout = random_module(seed, most_groups=1)
    source = imported(module, shape, readout=readout)
    write_nir(source.graph, tmp_path / "net.nir")
    assert set(nir.read(tmp_path / "net.nir").edges) == set(source.graph.edges)


@pytest.mark.parametrize("seed", range(8))
def test_round_trip(seed: int, tmp_path: Path) -> None:
    module, shape, readout = random_module(seed)
    source = imported(module, shape, readout=readout)
    write_nir(source.graph, tmp_path / "net.nir")
    back = load_nir(tmp_path / "net.nir")
    assert (back.semantics, back.deployment) == (source.semantics, source.deployment)
    assert set(back.graph.edges) == set(source.graph.edges)
    assert set(back.graph.nodes) == set(source.graph.nodes)
    x = values(source)
    ours, theirs = (run(s.graph, s.semantics, x) for s in (source, back))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    one, other = (lower(s.graph, s.semantics, s.deployment, 63) for s in (source, back))
    assert format_network(one) == format_network(other)
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_torch_seed_gives_the_same_file_twice(tmp_path: Path) -> None:
    files = []
    for name in ("a.nir", "b.nir"):
        torch.manual_seed(3)
        module, shape, readout = random_module(3)
        write_nir(imported(module, shape, readout=readout).graph, tmp_path / name)
        files.append(load_nir(tmp_path / name).graph)
    assert files[0].edges == files[1].edges


def test_a_file_of_another_framework(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, metadata={})) == (
        "no-semantics: a NIR graph does not determine the spikes, and this one does not carry snnhw metadata\n"
        "  where: net.nir\n"
        "  needed: dt (seconds of a step); reset (zero, v_reset, subtract); "
        "reset_timing (same_step, next_step, prepaid); "
        "threshold (gt: fires at v > threshold, ge: at v >= threshold); "
        "multispike (off, or the most spikes a neuron sends in one step); "
        "v_min (lower clip of the membrane, or null); integrator (euler: 1 - dt/tau, exp: exp(-dt/tau)); "
        "v_init (membrane at the start: a number, v_reset, v_leak)\n"
        "  limit: --dialect snntorch|spikingjelly|sinabs|norse|rockpool|nir; "
        "its numbers are as snntorch or spikingjelly writes them\n"
        "  hint: name the framework that wrote it by --dialect, or say these fields by --semantics FILE.json"
    )


def test_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_text("hello")
    text = refusal(tmp_path / "net.nir")
    assert text.startswith("bad-nir: not a readable NIR file: OSError: ")
    assert text.endswith("  where: net.nir\n  hint: give an HDF5 file written by nir.write")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated(kept: float, tmp_path: Path) -> None:
    file = written(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    assert refusal(file).startswith("bad-nir: not a readable NIR file: ")


def test_hdf5_that_is_no_nir(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.nir", "w") as file:
        file["weights"] = np.ones(3)
    assert refusal(tmp_path / "net.nir").startswith("bad-nir: not a readable NIR file: KeyError: ")


def damage(file: Path, change: Callable[[h5py.Group], None]) -> None:
    with h5py.File(file, "r+") as content:
        change(content["node"])


def replaced(name: str, value: object) -> Callable[[h5py.Group], None]:
    def change(node: h5py.Group) -> None:
        del node[name]
        node[name] = value

    return change


def test_nan_weight_in_the_file(tmp_path: Path) -> None:
    file = written(tmp_path)
    damage(file, replaced("nodes/fc/weight", np.full((2, 3), np.nan)))
    assert refusal(file).startswith("not-finite: 6 values are NaN or infinite\n  where: fc.weight\n")


def test_unknown_node_in_the_file(tmp_path: Path) -> None:
    file = written(tmp_path)
    damage(file, replaced("nodes/neuron/type", b"MaxPool2d"))
    assert refusal(file).startswith(
        "unknown-node: nodes of type MaxPool2d are not supported\n  where: net.nir: neuron\n"
    )


def test_missing_parameter_in_the_file(tmp_path: Path) -> None:
    file = written(tmp_path)
    damage(file, lambda node: node["nodes/fc"].pop("weight"))
    assert refusal(file).startswith("bad-nir: the node lacks a parameter\n  where: net.nir: fc.weight\n")


def with_metadata(tmp_path: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> str:
    content = json.loads(graph().metadata[METADATA_KEY])
    change(content)
    return refusal(written(tmp_path, metadata={METADATA_KEY: json.dumps(content)}))


def test_metadata_of_a_node_that_is_not_there(tmp_path: Path) -> None:
    text = with_metadata(tmp_path, lambda c: c["semantics"].update(nodes={"ghost": {"threshold": "ge"}}))
    assert text == ("bad-semantics: the semantics speak of nodes that do not exist\n  where: net.nir\n  needed: ghost")


def test_metadata_with_a_missing_field(tmp_path: Path) -> None:
    text = with_metadata(tmp_path, lambda c: c["semantics"].pop("reset") and None)
    assert text == (
        "bad-semantics: the snnhw metadata cannot be read: fields ['reset'] are missing or unknown\n  where: net.nir"
    )


def test_metadata_with_an_unknown_integrator(tmp_path: Path) -> None:
    text = with_metadata(tmp_path, lambda c: c["semantics"].update(integrator="heun"))
    assert text == (
        "bad-semantics: integrator has a value it cannot have\n  where: net.nir\n  needed: 'heun'\n  limit: euler, exp"
    )


def test_a_shape_the_deployment_contradicts(tmp_path: Path) -> None:
    content = json.loads(graph().metadata[METADATA_KEY])
    content["deployment"]["input_shape"] = [4]
    source = load_source(written(tmp_path, metadata={METADATA_KEY: json.dumps(content)}))
    with pytest.raises(SnnhwError) as caught:
        lower(source.graph, source.semantics, source.deployment, 63)
    assert str(caught.value) == (
        "bad-shape: the graph's input has another shape than the deployment says\n"
        "  where: input\n  needed: (3,)\n  limit: deployment: (4,)"
    )


def test_files_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path)
    for module in (nir_file, limits):
        monkeypatch.setattr(module, "MAX_BYTES", 64)
    text = refusal(file)
    assert text.startswith("too-big: the file unpacks to too much\n  where: net.nir\n  needed: ")
    assert text.endswith(" bytes\n  limit: 64 bytes")


def external(file: Path, nodes: h5py.Group) -> None:
    with h5py.File(file.with_name("other.h5"), "w") as other:
        other["weight"] = np.ones((2, 3))
    nodes["fc/weight"] = h5py.ExternalLink("other.h5", "weight")


def soft(file: Path, nodes: h5py.Group) -> None:
    nodes["fc/weight"] = h5py.SoftLink("/node/nodes/fc/bias")


def raw(file: Path, nodes: h5py.Group) -> None:
    other = file.with_name("other.raw")
    other.write_bytes(bytes(48))
    nodes["fc"].create_dataset("weight", (2, 3), "f8", external=[(str(other), 0, 48)])


def virtual(file: Path, nodes: h5py.Group) -> None:
    layout = h5py.VirtualLayout((2, 3), "f8")
    layout[:] = h5py.VirtualSource(str(file.with_name("other.h5")), "weight", (2, 3))
    nodes["fc"].create_virtual_dataset("weight", layout)


@pytest.mark.parametrize("link", [external, soft, raw, virtual])
def test_data_outside_the_file(link: Callable[[Path, h5py.Group], None], tmp_path: Path) -> None:
    file = written(tmp_path)

    def change(node: h5py.Group) -> None:
        del node["nodes/fc/weight"]
        link(file, node["nodes"])

    damage(file, change)
    assert refusal(file) == (
        "bad-hdf5: the file links to data outside it, which are not followed\n"
        "  where: net.nir: /node/nodes/fc/weight\n  hint: give an HDF5 file written by nir.write"
    )


def test_a_slash_in_a_name_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        imported(nn.Sequential(OrderedDict({"a/b": IF()})))
    assert str(caught.value) == "bad-name: NIR node names cannot hold '/'\n  where: a/b"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.h5", "sources ending in '.h5' are not known"),
        ("net", "sources ending in 'nothing' are not known"),
    ],
)
def test_other_kinds_of_files(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert refusal(tmp_path / name) == (
        f"unknown-source: {text}\n  where: {name}\n  limit: .pt, .pth, .t7, .safetensors, .nir, .onnx, .py, .net\n"
        "  hint: compile a checkpoint, a .nir or an .onnx file, or a module: FILE.py:NAME --example DATA.npz"
    )


def test_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "net.nir") == f"no-such-file: there is no such file\n  where: {tmp_path / 'net.nir'}"


@pytest.mark.parametrize("ours", [False, True])
def test_an_input_that_no_memory_holds(ours: bool, tmp_path: Path) -> None:
    changes = {"input": nir.Input({"input": np.array([1 << 40])}), "fc": nir.Scale(np.ones(1)), "neuron": lif(1)}
    path = written(tmp_path, changes=changes, **({} if ours else {"metadata": {}}))
    options = SourceOptions() if ours else SourceOptions(dialect="nir", steps=5, semantics={"dt": 1e-4})
    with pytest.raises(SnnhwError) as caught:
        load_nir(path, options)
    assert str(caught.value) == (
        "too-big: one sample has too many values\n  where: input\n"
        "  needed: 1 steps of 1099511627776 values\n  limit: 268435456 values"
    )
