"""ONNX files that mean harm, or are broken: a clear error, soon, in little memory, and exit code 1."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from snnhw.errors import SnnhwError
from snnhw.frontends.onnx import ann, constants, layers
from snnhw.frontends.onnx import file as onnx_file
from snnhw.frontends.onnx import step as onnx_step
from snnhw.frontends.onnx.ann import load_ann
from snnhw.frontends.onnx.file import read_model
from snnhw.frontends.onnx.source import load_step
from snnhw.frontends.options import SourceOptions
from tests.unit.commands.line import snnhw
from tests.unit.frontends.onnx.mutants import mutant
from tests.unit.frontends.onnx.steps import Blocks, Recurrent, export
from tests.unit.frontends.onnx.test_ann import IMAGE, ROW, N, model, weights
from tests.unit.frontends.onnx.test_step_refusals import CELL, RESET, step_file

MATMUL = [N("MatMul", ["x", "m"], ["y"], name="product")]


def saved(file: Any, folder: Path) -> Path:
    path = folder / "hostile.onnx"
    path.write_bytes(file.SerializeToString())
    return path


def refusal(path: Path, read: Callable[[Path], Any] = load_ann) -> str:
    with pytest.raises(SnnhwError) as caught:
        read(path)
    assert caught.value.where
    return str(caught.value)


def kept_outside(folder: Path, **said: object) -> Path:
    """A product whose matrix is said to be in another file."""
    file = model(MATMUL, {"m": weights(4, 3)}, ROW)
    tensor = file.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))
    return saved(file, folder)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    matrix = weights(4, 3)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\0" * 8 + matrix.tobytes())
    path = kept_outside(tmp_path, location="sub/w.bin", offset=8, length=48)
    x = np.ones((2, 4), np.float32)
    import torch

    np.testing.assert_allclose(load_ann(path)(torch.tensor(x)).numpy(), x @ matrix, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("location", "what"),
    [
        ("../secret.bin", "weights are kept at a path outside of the file's folder"),
        ("/etc/hostname", "weights are kept at a path outside of the file's folder"),
        ("a/../../secret.bin", "weights are kept at a path outside of the file's folder"),
        ("..\\secret.bin", "weights are kept at a path outside of the file's folder"),
        ("", "weights are kept at a path outside of the file's folder"),
        ("link.bin", "weights are kept behind a link that leaves the file's folder"),
        ("none.bin", "the file that keeps weights is not there"),
        (".", "the file that keeps weights is not there"),
    ],
)
def test_weights_elsewhere_are_refused(location: str, what: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    os.symlink(tmp_path / "secret.bin", inner / "link.bin")
    text = refusal(kept_outside(inner, location=location))
    assert text.startswith(f"external-data: the ONNX file cannot be read: {what}\n  where: hostile.onnx: m\n")
    assert "limit: files inside the folder of the ONNX file, named by relative paths" in text


@pytest.mark.parametrize("said", [{"length": 40}, {"offset": 8}, {"offset": -48}, {"length": 1 << 60}])
def test_weights_of_another_size_are_refused(said: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(48))
    text = refusal(kept_outside(tmp_path, location="w.bin", **said))
    assert "external-data: the ONNX file cannot be read: the weights beside the ONNX file are of another size" in text


def test_weights_of_another_file_inside_a_node_are_refused(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(weights(4, 3), "m")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(48))
    nodes = [N("Constant", [], ["m"], value=tensor), *MATMUL]
    assert "a node's constant is kept in another file" in refusal(saved(model(nodes, {}, ROW), tmp_path))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    raw = model(MATMUL, {"m": weights(4, 3)}, ROW).SerializeToString()
    path = tmp_path / "short.onnx"
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        text = refusal(path)
        assert text.split(":")[0] in ("bad-onnx", "bad-shape", "inputs-outputs", "not-constant", "onnx-opset"), (
            size,
            text,
        )


def test_a_file_beyond_protobuf_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # a hole: takes no space
    start = time.monotonic()
    text = refusal(path)
    assert "too-big: the ONNX file, with the weights beside it, is larger than protobuf can hold" in text
    assert time.monotonic() - start < 1


def test_holes_of_legal_size_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "zeros.onnx"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)
    start = time.monotonic()
    assert refusal(path).startswith(("too-big", "bad-onnx"))
    assert time.monotonic() - start < 5


def test_weights_beside_the_file_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(48))
    path = kept_outside(tmp_path, location="w.bin")
    monkeypatch.setattr(onnx_file, "MOST_BYTES", path.stat().st_size + 47)
    assert "too-big: the ONNX file, with the weights beside it" in refusal(path)


@pytest.mark.parametrize("kind", ["nodes", "fields", "other"])
def test_a_million_parts_are_counted_not_parsed(kind: str, tmp_path: Path) -> None:
    node = N("Relu", ["x"], ["x"]).SerializeToString()
    inside = {
        "nodes": (b"\x0a" + _varint(len(node)) + node) * 1_000_000,
        "fields": b"\x6a\x00" * 5_000_000,  # empty value_infos
        "other": b"\x12" + _varint(100 << 20) + b"a" * (100 << 20),  # a name of 100 MB
    }[kind]
    path = tmp_path / "many.onnx"
    path.write_bytes(b"\x3a" + _varint(len(inside)) + inside)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refusal(path, read_model)
    assert "too-big: the ONNX graph has more parts than any network that is read here" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # kilobytes
    assert time.monotonic() - start < 10


def _varint(n: int) -> bytes:
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


GRAPH = helper.make_graph([N("Relu", ["x"], ["z"])], "inner", [], [helper.make_tensor_value_info("z", 1, ROW)])


@pytest.mark.parametrize(
    "node",
    [
        N("If", ["c"], ["y"], name="inner", then_branch=GRAPH, else_branch=GRAPH),
        N("Loop", ["n", "c"], ["y"], name="inner", body=GRAPH),
        N("Scan", ["x"], ["y"], name="inner", body=GRAPH, num_scan_inputs=1),
    ],
    ids=lambda node: node.op_type,
)
@pytest.mark.parametrize("step", [False, True])
def test_graphs_inside_nodes_are_refused(node: Any, step: bool, tmp_path: Path) -> None:
    file = model([node], {"c": np.array(True), "n": np.array(9)}, ROW)
    text = refusal(saved(file, tmp_path), _as_step if step else load_ann)
    assert f"not-plain-onnx: the ONNX file holds a graph inside a node ({node.op_type}: a loop or branch)" in text
    assert "where: hostile.onnx: inner" in text


def _as_step(path: Path) -> Any:
    return load_step(path, SourceOptions(steps=4))


def test_functions_and_sparse_tensors_are_refused(tmp_path: Path) -> None:
    file = model([N("Relu", ["x"], ["y"])], {}, ROW)
    file.functions.add(name="f", domain="own")
    text = refusal(saved(file, tmp_path))
    assert "not-plain-onnx: the ONNX file holds functions of its own, which is not read" in text
    file = model([N("Relu", ["x"], ["y"])], {}, ROW)
    file.graph.sparse_initializer.add()
    assert "not-plain-onnx: the ONNX file holds sparse tensors" in refusal(saved(file, tmp_path))


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_unknown_operator_sets_are_refused(opset: int, tmp_path: Path) -> None:
    text = refusal(saved(model([N("Relu", ["x"], ["y"])], {}, ROW, opset=opset), tmp_path))
    assert "onnx-opset: the ONNX file is written in an operator set that is not known here" in text
    assert f"needed: opset {opset}" in text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [False, True])
def test_weights_that_are_not_finite_are_named(bad: float, step: bool, tmp_path: Path) -> None:
    if step:
        text = refusal(step_file([*CELL, *RESET], tmp_path, constants={"d": np.float32(bad)}), _as_step)
        assert "not-finite: 1 values of the ONNX file are NaN or infinite\n  where: hand.onnx: d" in text
        return
    matrix = weights(4, 3)
    matrix[1, 2] = bad
    inside = [N("Constant", [], ["m"], name="held", value=numpy_helper.from_array(matrix)), *MATMUL]
    assert "are NaN or infinite\n  where: hostile.onnx: held" in refusal(saved(model(inside, {}, ROW), tmp_path))
    text = refusal(saved(model(MATMUL, {"m": matrix}, ROW), tmp_path))
    assert "not-finite: 1 values of the ONNX file are NaN or infinite\n  where: hostile.onnx: m" in text


@pytest.mark.parametrize("dims", [[1 << 40], [-1, 3], [1 << 31, 1 << 31, 1 << 31], [0, 5]])
def test_absurd_shapes_of_weights_are_refused(dims: list[int], tmp_path: Path) -> None:
    file = model(MATMUL, {"m": weights(4, 3)}, ROW)
    file.graph.initializer[0].ClearField("dims")
    file.graph.initializer[0].dims.extend(dims)
    assert refusal(saved(file, tmp_path)).split(":")[0] in ("bad-onnx", "bad-shape")


WIDE, TALL = np.zeros((1, 20_000), np.float32), np.zeros((20_000, 1), np.float32)
BOMBS = {
    "broadcast": ([N("Mul", ["a", "b"], ["m"])], {"a": WIDE, "b": TALL}),
    "expand": ([N("Expand", ["a", "s"], ["m"])], {"a": WIDE, "s": np.array([1 << 20, 20_000])}),
    "fill": ([N("ConstantOfShape", ["s"], ["m"])], {"s": np.array([1 << 20, 1 << 20])}),
    "gather": ([N("Gather", ["a", "i"], ["m"])], {"a": WIDE, "i": np.zeros(20_000, np.int64)}),
    "double": ([N("Concat", ["a"] * 2, ["c0"], axis=0),
                *(N("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(40)),
                N("Identity", ["c40"], ["m"])], {"a": WIDE}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_constants_that_grow_are_refused(name: str, tmp_path: Path) -> None:
    nodes, constants = BOMBS[name]
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refusal(saved(model([*nodes, *MATMUL], constants, ["n", 20_000]), tmp_path))
    assert "too-big: the constants of the ONNX file are too large to compute" in text
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3_000_000


@pytest.mark.parametrize(
    ("node", "constants", "shape"),
    [
        (N("Conv", ["x", "w"], ["y"], pads=[1 << 20] * 4), {"w": weights(1, 1, 3, 3)}, IMAGE),
        (N("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1 << 20] * 4, count_include_pad=1), {}, IMAGE),
        (N("AveragePool", ["x"], ["y"], kernel_shape=[4000, 4000], strides=[1, 1]), {}, [1, 1, 8000, 8000]),
        (N("MatMul", ["x", "w"], ["y"]), {"w": weights(1, 1 << 16)}, [1 << 20, 1]),
    ],
    ids=["pads", "pool pads", "kernel", "outer product"],
)
def test_layers_that_grow_are_refused(node: Any, constants: Any, shape: list[Any], tmp_path: Path) -> None:
    start = time.monotonic()
    text = refusal(saved(model([node], constants, shape), tmp_path))
    assert "too-big: the ONNX node makes more values, or more work, than any network that is read here" in text
    assert time.monotonic() - start < 5


def test_negative_padding_is_refused(tmp_path: Path) -> None:
    file = model([N("Conv", ["x", "w"], ["y"], pads=[-1] * 4)], {"w": weights(1, 1, 3, 3)}, IMAGE)
    assert "unsupported-option: padding of the ONNX node is negative" in refusal(saved(file, tmp_path))


def test_many_layers_of_many_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ann, "MOST_VALUES_IN_ALL", 100)
    nodes = [N("Relu", ["x" if i == 0 else f"r{i}"], [f"r{i + 1}"]) for i in range(20)]
    file = model([*nodes, N("Identity", ["r20"], ["y"])], {}, ROW)
    assert "too-big: the ONNX network computes more values than any that is read here" in refusal(saved(file, tmp_path))


def test_steps_of_many_coefficients_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_step, "MOST_HELD", 3)
    text = refusal(step_file([*CELL, *RESET], tmp_path), _as_step)
    assert "too-big: the ONNX step computes with more numbers than any that is read here" in text


def test_values_that_broadcast_to_many_are_refused(tmp_path: Path) -> None:
    nodes = [N("Mul", ["x", "a"], ["m0"], name="outer"), N("Add", ["m0", "v"], ["h"]), *CELL[2:], *RESET]
    text = refusal(step_file(nodes, tmp_path, constants={"a": np.ones((1 << 21, 1, 1), np.float32)}), _as_step)
    assert "unknown-operation: the ONNX operation Mul, more than 16777216 values, is not read" in text


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_steps_are_read_or_refused_but_never_crash(seed: int, tmp_path: Path) -> None:
    path = step_file([*CELL, *RESET], tmp_path)
    rng, raw = np.random.default_rng(seed), bytearray(path.read_bytes())
    for place in rng.integers(0, len(raw), rng.integers(1, 5)):
        raw[place] = rng.integers(0, 256)
    path.write_bytes(bytes(raw))
    try:
        _as_step(path)
    except SnnhwError as error:
        assert error.where or error.needed  # noqa: PT017


def _mutants(model: Any, seeds: range, folder: Path, read: Callable[[Path], Any]) -> list[Any]:
    """What is read of the mutants that are not refused; a refusal is an SnnhwError, and none is a wrong reading."""
    found = []
    for seed in seeds:
        path = saved(mutant(model, seed), folder)
        try:
            found.append(read(path))
        except SnnhwError as error:
            assert error.code != "not-equal", (seed, str(error))  # noqa: PT017 - read, and read wrongly
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["blocks", "recurrent", "by hand"])
def test_mutants_of_steps_are_read_rightly_or_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    if name == "by hand":
        path = step_file([*CELL, *RESET], tmp_path)
    else:
        blocks = Blocks()
        export(blocks, blocks.shapes, path) if name == "blocks" else export(Recurrent(), [(6,), (8,), (8,)], path)
    read = _mutants(onnx.load(path), range(80), tmp_path, _as_step)
    assert len(read) >= 5
    assert all(source.origin["check"]["status"] in ("equal", "skipped") for source in read)


def test_mutants_of_classifiers_are_read_or_refused(tmp_path: Path, examples: Path) -> None:
    assert len(_mutants(onnx.load(examples / "ann_cnn.onnx"), range(80), tmp_path, load_ann)) >= 5


def test_the_limits_are_not_too_small_for_networks() -> None:
    """ResNet-50 has 122 nodes and 25 M weights; 224 x 224 x 64 values in its first layer."""
    assert onnx_file.MOST_NODES > 10_000
    assert layers.MOST_VALUES > 10 * 224 * 224 * 64
    assert constants.MOST_VALUES > 100_000_000


def test_the_command_line_exits_with_1_and_the_message(tmp_path: Path) -> None:
    path = kept_outside(tmp_path, location="../secret.bin")
    done = snnhw("compile", path, "--target", "loihi2", "--steps", "4", "-o", tmp_path / "out.snnhw")
    assert done.code == 1
    assert "external-data: the ONNX file cannot be read" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out.snnhw").exists()
