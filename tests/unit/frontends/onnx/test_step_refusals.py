"""Steps written by hand: one that is read, and what is no neuron, refused by the name of the node or state."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snnhw.errors import SnnhwError, SourceError
from snnhw.frontends.onnx.source import load_step
from snnhw.frontends.options import SourceOptions

T = 12

N = helper.make_node
CELL = [N("Mul", ["v", "d"], ["m"]), N("Add", ["m", "x"], ["h"], name="charge"),
        N("Greater", ["h", "th"], ["b"], name="fire"),
        N("Cast", ["b"], ["s"], to=1)]  # fmt: skip
RESET = [N("Mul", ["s", "th"], ["q"]), N("Sub", ["h", "q"], ["w"])]


def step_file(
    nodes: list[Any], folder: Path, constants: Any = None, inputs: Sequence[str] = "xv", outputs: Sequence[str] = "sw"
) -> Path:
    """A step of x and v, written by hand."""
    held = {"d": np.float32(0.5), "th": np.float32(1.0), **(constants or {})}
    infos = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 6]) for n in names] for names in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "step", *infos, tensors)
    path = folder / "hand.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


LAST = [N("Greater", ["v", "th"], ["pb"]), N("Cast", ["pb"], ["ps"], to=1)]
LATE = [N("Mul", ["v", "d"], ["m"]), N("Add", ["m", "x"], ["a"]), N("Sub", ["a", "q"], ["h"]), *CELL[2:]]


REFUSED: list[tuple[list[Any], Any, str]] = [
    ([*CELL, N("Identity", ["h"], ["w"])],
     None, "not-a-neuron: the step holds a membrane that is not reset\n  where: fire"),
    ([*CELL, N("Mul", ["s", "half"], ["q"]), N("Sub", ["h", "q"], ["w"])], {"half": np.float32(0.5)},
     "not-a-neuron: the step holds a reset that is neither to a constant nor by the threshold\n  where: fire"),
    ([*CELL, *RESET[:1], N("Sub", ["h", "q"], ["r"]), N("Sigmoid", ["r"], ["w"], name="odd")], None,
     "unknown-operation: the ONNX operation Sigmoid is not read in a step of a spiking network\n  where: odd"),
    ([N("Mul", ["v", "v"], ["m"], name="square"), *CELL[1:], *RESET], None,
     "unknown-operation: the ONNX operation Mul, the square of a value, is not read in a step of a spiking network\n"),
    ([N("Div", ["d", "v"], ["m"], name="over"), *CELL[1:], *RESET], None, "Div by other than constants is not read"),
    ([*CELL[:3], N("Cast", ["h"], ["s"], to=7, name="round"), N("Sub", ["h", "d"], ["w"])],
     None, "Cast that rounds values is not"),
    ([*CELL, N("Sub", ["h", "s"], ["r"]), N("Clip", ["r", "d", "th"], ["w"], name="clip")],
     None, "Clip from above is not read"),
    ([*CELL, N("Mul", ["h", "s"], ["w"])],
     None, "a membrane that is not a weighted sum of its old value and its inputs"),
    ([*CELL[:1], N("Mul", ["m", "x"], ["h"]), *CELL[2:], *RESET], None,
     "a membrane that is not a weighted sum of its old value and its inputs"),
    ([N("MatMul", ["v", "k"], ["m"]), *CELL[1:], *RESET], {"k": np.eye(6, dtype=np.float32)},
     "a layer that reads a membrane"),
    ([*CELL[:3], N("Greater", ["h", "d"], ["b2"]), N("Cast", ["b2"], ["s"], to=1), *RESET],
     None, "not-a-neuron: the step holds a reset that is neither to a constant nor by the threshold"),
    ([*CELL, N("Where", ["b", "v0", "h"], ["w"])], {"v0": np.array([[0.0], [1.0]], np.float32)},
     "the ONNX operation a constant that differs between the samples of the batch is not read"),
    ([N("Dropout", ["x", "", "t"], ["y"]), N("Mul", ["v", "d"], ["m"]), N("Add", ["m", "y"], ["h"]), *CELL[2:], *RESET],
     {"t": np.array(True)}, "Dropout in training mode is not read"),
    ([*CELL[:2], N("Max", ["h", "x"], ["g"]), N("Greater", ["g", "th"], ["b"]), CELL[3], *RESET], None,
     "Max of other than a value and a constant is not read"),
    ([*LAST, N("Mul", ["ps", "low"], ["q"]), *LATE, N("Identity", ["h"], ["w"])], {"low": np.float32(0.3)},
     "not-a-neuron: the step holds a reset in the next step that is neither of the membrane nor by the thr"),
    ([*LAST, N("Mul", ["ps", "th"], ["q"]), *LATE, N("Max", ["h", "low"], ["w"])], {"low": np.float32(-0.5)},
     "a lower bound of a membrane that is reset in the next step"),
    ([*CELL[:1], N("Add", ["m", "x"], ["a"]), N("Max", ["a", "d"], ["w"]), N("Identity", ["x"], ["s"])], None,
     "a lower bound of a state that never fires"),
    ([*CELL[:1], N("Add", ["m", "x"], ["w"]), N("GreaterOrEqual", ["x", "th"], ["b"]), CELL[3]], None,
     "a comparison without memory that is not [weighted sum > threshold]"),
    ([*CELL[:2], N("Add", ["x", "d"], ["s"]), N("Identity", ["h"], ["w"])], None,
     "the ONNX operation a constant added at an output is not read"),
    ([*CELL, *RESET[:1], N("Sub", ["h", "q"], ["w0"]), N("Identity", ["w0"], ["s2"]),
     N("Identity", ["w0"], ["w"])], "shown",
     "the ONNX operation an output that shows the membrane of a neuron that fires is not read"),
    ([N("BatchNormalization", ["x", "g", "g", "g", "g"], ["y", "e", "f"], training_mode=1), N("Mul", ["v", "d"], ["m"]),
      N("Add", ["m", "y"], ["h"]), *CELL[2:], *RESET],
     {"g": np.ones(6, np.float32)}, "BatchNormalization in training mode is not read"),
    ([*CELL, *RESET[:1], N("Sub", ["h", "q"], ["r"]), N("Max", ["r", "low"], ["w"])],
     {"low": np.arange(6, dtype=np.float32)},
     "a lower bound that differs between neurons is not read"),
    ([N("GreaterOrEqual", ["d", "th"], ["e"]), *CELL, *RESET], None,
     "a comparison of what is known already is not read"),
    ([N("Add", ["x", "d"], ["y"]), N("MatMul", ["y", "k"], ["z"]), *CELL[:1],
     N("Add", ["m", "z"], ["h"]), *CELL[2:], *RESET],
     {"k": np.eye(6, dtype=np.float32)}, "a constant added in front of a layer is not read"),
    ([*CELL, *RESET[:1], N("Mul", ["s", "x"], ["y"]), N("MatMul", ["y", "k"], ["z"]), N("Sub", ["h", "q"], ["w"])],
     {"k": np.eye(6, dtype=np.float32)}, "a layer that reads a product of values is not read"),
    ([*CELL, N("MatMul", ["x", "k"], ["w"])], {"k": np.ones((6, 3), np.float32)},
     "state-pairs: a state of the ONNX step and its new value have different shapes\n  where: v:w"),
    ([*LAST, N("Mul", ["ps", "th"], ["q"]), *LATE, N("Greater", ["h", "d"], ["b2"]), N("Identity", ["h"], ["w"])],
     None, "not-a-neuron: the step holds a membrane that is compared more than once: "),
]  # fmt: skip


def test_the_hand_written_step_is_read(tmp_path: Path) -> None:
    source = load_step(step_file([*CELL, *RESET], tmp_path), SourceOptions(steps=T))
    assert source.semantics.nodes["fire"]["reset"] == "subtract"


@pytest.mark.parametrize(("nodes", "constants", "expected"), REFUSED, ids=[r[2][-50:] for r in REFUSED])
def test_what_is_no_neuron_is_refused_by_name(nodes: list[Any], constants: Any, expected: str, tmp_path: Path) -> None:
    outputs = ["s2", "w"] if constants == "shown" else ["s", "w"]
    path = step_file(nodes, tmp_path, None if constants == "shown" else constants, outputs=outputs)
    with pytest.raises(SnnhwError) as caught:
        load_step(path, SourceOptions(steps=T))
    assert expected in str(caught.value)


def test_inputs_for_different_numbers_of_samples_are_refused(tmp_path: Path) -> None:
    path = step_file([*CELL, *RESET], tmp_path)
    file = onnx.load(path)
    file.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(file, path)
    with pytest.raises(
        SourceError, match="bad-shape: the inputs of the ONNX step are for different numbers of samples"
    ):
        load_step(path, SourceOptions(steps=T))


def test_one_value_for_several_neurons_is_refused(tmp_path: Path) -> None:
    path = step_file([*CELL, *RESET], tmp_path)
    file = onnx.load(path)
    file.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(file, path)
    with pytest.raises(SourceError, match="one value that is broadcast to several neurons is not read in a step"):
        load_step(path, SourceOptions(steps=T))


CURRENT = [N("Mul", ["v", "d"], ["m"]), N("Add", ["m", "i"], ["h"]), *CELL[2:], *RESET, N("Mul", ["i", "d"], ["k"])]
CURRENTS: list[tuple[list[Any], str, str, str]] = [
    ([*CURRENT[:1], N("Add", ["m", "i"], ["g"]), N("Add", ["g", "j"], ["h"]), *CURRENT[2:], N("Add", ["k", "x"], ["p"]),
      N("Mul", ["j", "th"], ["o"]),
     N("Add", ["o", "x"], ["q2"])], "xvij", "s,w,p,q2", "a neuron that reads the states i, j"),
    ([*CURRENT, N("Add", ["k", "x"], ["l"]), N("Add", ["l", "th"], ["p"])], "xvi", "s,w,p",
     "a constant added to a synaptic current"),
    ([*CURRENT, N("Mul", ["k", "s"], ["l"]), N("Add", ["l", "x"], ["p"])], "xvi", "s,w,p",
     "a synaptic current that is not a weighted sum of its old value and its inputs"),
    ([*CURRENT[:1], N("Add", ["m", "i"], ["g"]), N("Add", ["g", "x"], ["h"]), *CURRENT[2:],
     N("Add", ["k", "x"], ["p"])],
     "xvi", "s,w,p", "a membrane that reads more than its current i"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "inputs", "outputs", "expected"), CURRENTS, ids=[r[3][:40] for r in CURRENTS])
def test_currents_that_are_none_are_refused(
    nodes: list[Any], inputs: str, outputs: str, expected: str, tmp_path: Path
) -> None:
    path = step_file(nodes, tmp_path, inputs=inputs, outputs=outputs.split(","))
    with pytest.raises(SourceError, match=f"not-a-neuron: the step holds {expected}"):
        load_step(path, SourceOptions(steps=T))


def test_a_step_that_cannot_be_run_is_not_checked_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    source = load_step(step_file([*CELL, *RESET], tmp_path), SourceOptions(steps=T))
    assert source.origin["check"]["status"] == "skipped"
    assert "bad-onnx: the ONNX step cannot be run: ModuleNotFoundError: " in source.origin["check"]["detail"]


def test_a_wrong_reading_is_caught_by_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant that takes > for >= would lose nothing here; one that doubles the threshold must be refused."""
    from snnhw.frontends.onnx import assembly

    spiking = assembly.spiking

    def doubled(equation: Any, threshold: Any, *rest: Any) -> Any:
        return spiking(equation, 2 * threshold, *rest)

    monkeypatch.setattr(assembly, "spiking", doubled)
    with pytest.raises(SnnhwError) as caught:
        load_step(step_file([*CELL, *RESET], tmp_path), SourceOptions(steps=T))
    assert "not-equal: two stages give different spikes (source = NIR)\n  where: fire, index" in str(caught.value)
