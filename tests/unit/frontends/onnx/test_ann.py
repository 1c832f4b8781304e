"""ONNX classifiers: what is read equals onnx's own reference evaluator; what is not is refused by the node's name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.frontends.onnx.ann import load_ann
from snnhw.network import Array
from snnhw.zoo.ann import AnnCnn

RNG = np.random.default_rng(0)
Constants = dict[str, Any]


def weights(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def model(nodes: list[Any], constants: Constants, shape: list[Any], **options: Any) -> Any:
    """A classifier from `x` of that shape to `y`, opset 17."""
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", options.get("kind", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "classes"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = options.get("opset", 17)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def require_equal(file: Any, tmp_path: Path, samples: int = 3) -> nn.Module:
    """What we read gives what onnx's reference evaluator gives."""
    path = tmp_path / "model.onnx"
    onnx.save(file, path)
    dims = file.graph.input[0].type.tensor_type.shape.dim
    x = weights(dims[0].dim_value or samples, *(d.dim_value for d in dims[1:]))
    (want,) = ReferenceEvaluator(file).run(None, {file.graph.input[0].name: x})
    module = load_ann(path)
    have = module(torch.tensor(x)).detach().numpy()
    assert have.shape == want.shape
    assert np.abs(want).max() > 0
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    return module


class View(nn.Module):
    """The flatten idiom of older torch code: the batch size is computed in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1, stride=2), nn.BatchNorm2d(3)
        self.one, self.two = nn.Linear(27, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        x = functional.dropout(x.view(x.size(0), -1), training=self.training)
        out: Tensor = self.two(torch.relu(self.one(x)))
        return out


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("keep_norms", [False, True])
@pytest.mark.parametrize("make", [lambda: AnnCnn(channels=(3, 4), blocks=(1, 0), classes=3), View])
def test_torch_exports(make: Callable[[], nn.Module], keep_norms: bool, dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make()
    network(torch.rand(20, 1, 12, 12))
    mode = torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL
    path, example = tmp_path / "torch.onnx", torch.rand(1, 1, 12, 12)
    axes = {"x": {0: "n"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, and needs nothing else installed
        torch.onnx.export(
            network.eval(), (example,), str(path), dynamo=False, input_names=["x"], training=mode, dynamic_axes=axes
        )
    file = onnx.load(path)
    assert ("BatchNormalization" in {node.op_type for node in file.graph.node}) == keep_norms
    module = require_equal(file, tmp_path)
    x = torch.rand(6, 1, 12, 12)
    torch.testing.assert_close(module(x), network(x))


N = helper.make_node
GRAPHS: dict[str, tuple[list[Any], Constants, list[Any]]] = {
    "MatMul and Add": ([N("MatMul", ["x", "w"], ["h"]), N("Add", ["b", "h"], ["y"])],
                       {"w": weights(4, 3), "b": weights(3)}, ["n", 4]),
    "Gemm": ([N("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0)],
             {"w": weights(4, 3), "c": weights(1, 3)}, [2, 4]),
    "Gemm transposed, scalar c": ([N("Gemm", ["x", "w", "c"], ["y"], transB=1)],
                                  {"w": weights(3, 4), "c": weights(1)}, [2, 4]),
    "Conv": ([N("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 1, 0], strides=[2, 1], dilations=[1, 2], group=2)],
             {"w": weights(4, 1, 3, 3), "b": weights(4)}, [2, 2, 7, 9]),
    "Conv and Add per channel": ([N("Conv", ["x", "w"], ["h"]), N("Add", ["h", "b"], ["y"])],
                                 {"w": weights(2, 1, 3, 3), "b": weights(1, 2, 1, 1)}, ["n", 1, 5, 5]),
    "Conv without bias, residual": ([N("Conv", ["x", "w"], ["h"], auto_pad="VALID"), N("Relu", ["h"], ["r"]),
                                     N("Conv", ["r", "v"], ["k"]), N("Add", ["k", "r"], ["y"])],
                                    {"w": weights(2, 1, 3, 3), "v": weights(2, 2, 1, 1)}, ["n", 1, 5, 5]),
    "BatchNormalization of features": ([N("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=0.1)],
                                       {"g": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) ** 2},
                                       ["n", 4]),
    "AveragePool padded": ([N("AveragePool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 1], pads=[1, 1, 1, 1],
                              count_include_pad=1)], {}, [1, 2, 6, 6]),
    "mean over height and width": ([N("ReduceMean", ["x"], ["y"], axes=[-1, 2], keepdims=0)], {}, ["n", 2, 4, 4]),
    "global pool, kept": ([N("GlobalAveragePool", ["x"], ["y"])], {}, ["n", 2, 4, 4]),
    "Reshape with zero": ([N("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, -1])}, ["n", 2, 3, 3]),
    "Reshape with the batch left": ([N("Reshape", ["x", "s"], ["y"])], {"s": np.array([-1, 18])}, ["n", 2, 3, 3]),
    "Identity and Dropout": ([N("Identity", ["x"], ["i"]), N("Flatten", ["i"], ["f"]), N("Dropout", ["f"], ["y"])],
                             {}, ["n", 2, 3]),
    "Constant nodes": ([N("Constant", [], ["w"], value=numpy_helper.from_array(weights(4, 3))),
                        N("Identity", ["w"], ["v"]), N("MatMul", ["x", "v"], ["y"])], {}, ["n", 4]),
    "Clip from below": ([N("Flatten", ["x"], ["f"]), N("Clip", ["f", "zero"], ["y"])],
                        {"zero": np.float32(0)}, ["n", 2, 3]),
    "Clip from above too": ([N("Clip", ["x", "zero", "six"], ["y"])],
                            {"zero": np.float32(0), "six": np.float32(0.4)}, ["n", 6]),
    "pool and Squeeze": ([N("GlobalAveragePool", ["x"], ["p"]), N("Squeeze", ["p", "axes"], ["y"])],
                         {"axes": np.array([2, 3])}, ["n", 2, 4, 4]),
    "Sum": ([N("Flatten", ["x"], ["a"]), N("Relu", ["a"], ["b"]), N("Sum", ["a", "b"], ["y"])], {}, ["n", 2, 3]),
    "odd names": ([N("Relu", ["x"], ["a"], name="/forward"), N("Flatten", ["a"], ["b"], name="train"),
                   N("Flatten", ["b"], ["y"], name="//")], {}, ["n", 2, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_operations_equal_the_reference_evaluator(name: str, tmp_path: Path) -> None:
    require_equal(model(*GRAPHS[name]), tmp_path)


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 15, 17, 18, 21])
@pytest.mark.parametrize(
    "name", ["Conv and Add per channel", "Gemm", "BatchNormalization of features", "Constant nodes"]
)
def test_operator_sets(name: str, opset: int, tmp_path: Path) -> None:
    """Against onnxruntime: onnx's own evaluator takes BatchNormalization before 14 for training."""
    nodes, constants, shape = GRAPHS[name]
    file = model(nodes, constants, shape, opset=opset)
    onnx.save(file, tmp_path / "old.onnx")
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    x = weights(2, *shape[1:])
    have = load_ann(tmp_path / "old.onnx")(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(have, session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_initialisers_may_be_inputs_too(tmp_path: Path) -> None:
    """As older exporters write them."""
    file = model(*GRAPHS["MatMul and Add"])
    for tensor in file.graph.initializer:
        file.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    require_equal(file, tmp_path)


def test_axes_of_a_mean_may_be_an_input(tmp_path: Path) -> None:
    nodes = [N("ReduceMean", ["x", "axes"], ["y"])]
    require_equal(model(nodes, {"axes": np.array([2, 3])}, ["n", 2, 4, 4], opset=18), tmp_path)


W, B = {"w": weights(2, 1, 3, 3)}, {"m": weights(4, 3)}
IMAGE, ROW = ["n", 1, 6, 6], ["n", 4]
ODD = N("Odd", ["x"], ["y"], name="odd", domain="other")
LATE = numpy_helper.from_array(weights(4, 3), "late")
REFUSED: list[tuple[list[Any], Constants, list[Any], str]] = [
    ([N("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[2, 2])], {}, IMAGE,
     "unknown-operation: the ONNX operation MaxPool is not read\n  where: pool\n"),
    ([N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])], {}, IMAGE, "hint: train with average pooling"),
    ([N("Softmax", ["x"], ["y"])], {}, ROW, "hint: export the network without it"),
    ([N("Sigmoid", ["x"], ["y"])], {}, ROW, "unknown-operation: the ONNX operation Sigmoid is not read\n"),
    ([N("Add", ["x", "b"], ["y"])], {"b": weights(4)}, ROW,
     "unknown-operation: the ONNX operation Add of a constant to something that has no bias is not read"),
    ([N("Relu", ["x"], ["r"]), N("Add", ["r", "b"], ["y"])], {"b": weights(4)}, ROW, "that has no bias is not read"),
    ([N("Relu", ["m"], ["y"])], B, ROW, "the ONNX operation an operation on constants alone is not read"),
    ([N("Conv", ["x", "w"], ["y"], name="c", pads=[1, 1, 0, 0])], W, IMAGE,
     "unsupported-option: padding of the ONNX node must be given, and the same on both sides\n  where: c"),
    ([N("Clip", ["x", "low", "high"], ["y"])], {"low": np.float32(-1), "high": np.float32(6)}, ROW,
     "unsupported-option: the ONNX Clip must be from 0 upwards"),
    ([N("Squeeze", ["x", "axes"], ["y"])], {"axes": np.array([1])}, IMAGE,
     "unsupported-option: the ONNX Squeeze must drop height and width of 1"),
    ([N("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")], W, IMAGE, "unsupported-option: padding of the ONNX node"),
    ([N("Conv", ["x", "w"], ["y"])], {"w": weights(2, 1, 3)}, ["n", 1, 6],
     "unsupported-option: the ONNX convolution must have two spatial dimensions"),
    ([N("Gemm", ["x", "m"], ["y"], transA=1)], B, ROW,
     "unsupported-option: the ONNX product must be of (batch, features) and a constant matrix"),
    ([N("Gemm", ["x", "m", "c"], ["y"])], {**B, "c": weights(2, 3)}, [2, 4],
     "unsupported-option: the ONNX product adds something else than one number per output"),
    ([N("Gemm", ["x", "m", "c"], ["y"])], {**B, "c": weights(3, 1)}, [3, 4],
     "unsupported-option: the ONNX product adds something else than one number per output"),
    ([N("Conv", ["x", "w"], ["h"]), N("Identity", ["h"], ["i"]), N("Add", ["i", "b"], ["a"]), N("Relu", ["a"], ["r"]),
      N("Relu", ["h"], ["q"]), N("Add", ["r", "q"], ["y"])], {**W, "b": weights(1, 2, 1, 1)}, IMAGE,
     "the ONNX operation Add of a constant to something that has no bias is not read"),
    ([N("MatMul", ["x", "m"], ["y"])], {"m": weights(3, 3)}, ROW,
     "bad-shape: the ONNX node does not take its input: "),
    ([N("Conv", ["x", "w"], ["y"], name="c", group=3)], W, ["n", 3, 6, 6],
     "bad-shape: the ONNX node does not take its input: "),
    ([N("AveragePool", ["x"], ["y"], kernel_shape=[2])], {}, IMAGE, "bad-shape: the ONNX node does not take its inp"),
    ([N("BatchNormalization", ["x", "g", "g", "g", "g"], ["y"])], {"g": weights(5)}, ROW,
     "bad-shape: the ONNX node does not take its input: "),
    ([N("Gather", ["m", "i"], ["w"], name="gather"), N("MatMul", ["x", "w"], ["y"])], {**B, "i": np.array([9])}, ROW,
     "bad-onnx: a constant of the ONNX file cannot be computed: "),
    ([N("Constant", [], ["w"], value_strings=["a"]), N("MatMul", ["x", "w"], ["y"])], {}, ROW,
     "unknown-operation: the ONNX operation Constant of other than numbers is not read"),
    ([N("BatchNormalization", ["x", "g", "g", "g", "g"], ["y", "a", "b"], training_mode=1)], {"g": weights(4)}, ROW,
     "unsupported-option: the ONNX BatchNormalization is in training mode or of other shape"),
    ([N("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1])], {}, IMAGE,
     "unsupported-option: ceil_mode, dilations and padding that does not count are not read in ONNX AveragePool"),
    ([N("GlobalAveragePool", ["x"], ["y"])], {}, ["n", 1, 6],
     "unsupported-option: the ONNX global pool must be over two spatial dimensions"),
    ([N("ReduceMean", ["x"], ["y"], axes=[1])], {}, IMAGE,
     "unsupported-option: the ONNX mean must be over height and width"),
    ([N("Reshape", ["x", "s"], ["y"])], {"s": np.array([-1, 9, 4])}, IMAGE,
     "unsupported-option: the ONNX reshape must flatten all but the batch"),
    ([N("Flatten", ["x"], ["y"], axis=2)], {}, IMAGE, "unsupported-option: the ONNX reshape must flatten"),
    ([N("Conv", ["x", "w"], ["h"]), N("Add", ["h", "b"], ["y"])], {**W, "b": weights(4, 4)}, IMAGE,
     "unsupported-option: the ONNX Add of a constant must be one number per channel"),
    ([N("Relu", ["x"], ["r"]), N("MatMul", ["x", "r"], ["y"], name="own")], {}, [4, 4],
     "not-constant: the ONNX node takes weights or options that are computed, not constant\n  where: own\n"),
    ([N("GlobalAveragePool", ["x"], ["p"]), N("Add", ["x", "p"], ["y"], name="sum")], {}, IMAGE,
     "bad-shape: the summands have different shapes\n  where: sum"),
    ([N("Relu", ["x"], ["y"]), N("Flatten", ["y"], ["z"])], {}, ROW,
     "inputs-outputs: what the ONNX classifier returns is not what its last layer gives"),
    ([N("Dropout", ["x", "", "t"], ["y"])], {"t": np.array(True)}, ROW,
     "unsupported-option: the Dropout is in training mode"),
    ([N("Relu", ["x"], ["y"])], {}, ["n", 1, "h", 6],
     "bad-shape: an input of the ONNX network must be floats (batch, ...) of a fixed shape"),
    ([N("Relu", ["x"], ["y"])], {}, [4], "bad-shape: an input of the ONNX network must be floats"),
    ([N("Relu", ["x"], ["y"])], {}, [1 << 40, 4], "limit: numbers after the first dimension, at most 67108864 values"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "shape", "text"), REFUSED, ids=[r[3][:70] for r in REFUSED])
def test_refusals_name_the_node(
    nodes: list[Any], constants: Constants, shape: list[Any], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "refused.onnx"
    onnx.save(model(nodes, constants, shape), path)
    with pytest.raises(SnnhwError) as caught:
        load_ann(path)
    assert text in str(caught.value)


def test_integers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "int.onnx"
    onnx.save(model([N("Identity", ["x"], ["y"])], {}, ROW, kind=TensorProto.INT64), path)
    with pytest.raises(SnnhwError, match="bad-shape: an input of the ONNX network must be floats"):
        load_ann(path)


def test_foreign_domains_are_refused(tmp_path: Path) -> None:
    file = model([ODD], {}, ROW)
    file.opset_import.append(helper.make_opsetid("other", 1))
    onnx.save(file, tmp_path / "odd.onnx")
    with pytest.raises(SnnhwError, match=r"unknown-operation: the ONNX operation other\.Odd is not read\n  where: odd"):
        load_ann(tmp_path / "odd.onnx")


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    file = model([N("Add", ["x", "z"], ["y"])], {}, ROW)
    file.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ROW))
    onnx.save(file, tmp_path / "two.onnx")
    with pytest.raises(SnnhwError, match="inputs-outputs: the ONNX classifier must have one input and one output"):
        load_ann(tmp_path / "two.onnx")


def test_names_that_are_not_text_and_unknown_data_types(tmp_path: Path) -> None:
    raw = model([N("Flatten", ["x"], ["y"], name="@@@@")], {}, ["n", 2, 2]).SerializeToString()
    path = tmp_path / "odd.onnx"
    path.write_bytes(raw.replace(b"@@@@", b"\xff\xfe\xfd\xfc"))
    assert load_ann(path)(torch.rand(3, 2, 2)).shape == (3, 4)
    file = model([N("MatMul", ["x", "m"], ["y"])], B, ROW)
    file.graph.initializer[0].data_type = 88
    onnx.save(file, path)
    with pytest.raises(SnnhwError, match="bad-onnx: a constant of the ONNX file cannot be computed: 88"):
        load_ann(path)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_but_never_crash(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    nodes, constants, shape = GRAPHS[sorted(GRAPHS)[seed % len(GRAPHS)]]
    raw = bytearray(model(nodes, constants, shape).SerializeToString())
    for place in rng.integers(0, len(raw), rng.integers(1, 6)):
        raw[place] = rng.integers(0, 256)
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(raw))
    try:
        load_ann(path)
    except SnnhwError as error:
        assert error.where  # noqa: PT017


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(SnnhwError, match=r"bad-onnx: the file is not a valid ONNX model\n  where: bad.onnx"):
        load_ann(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnnhwError, match="no-such-file: there is no such ONNX file"):
        load_ann(tmp_path / "none.onnx")
