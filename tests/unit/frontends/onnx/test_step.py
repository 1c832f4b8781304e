"""Steps of spiking networks exported from torch: the same spikes as torch, in NIR and in the lowered network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends import load_source
from snnhw.frontends.onnx.source import load_step, pairs
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.simulate import run
from snnhw.frontends.source import Source
from snnhw.zoo.neurons import IF, LIF, PLIF, IterativeLIF
from tests.unit.frontends.onnx.steps import (
    Blocks,
    Floored,
    Gate,
    Hard,
    Late,
    Layer,
    Leaky,
    Normed,
    OfZoo,
    Readout,
    Recurrent,
    SoftInside,
    SoftSame,
    Stbp,
    Synaptic,
    export,
    outputs,
    spikes,
)

T = 12
ROW, CELLS = (6,), (8,)
ONE, TWO = [ROW, CELLS], [ROW, CELLS, CELLS]


def loaded(step: nn.Module, shapes: Any, folder: Path, **more: Any) -> Source:
    return load_step(export(step, shapes, folder / "step.onnx", **more), SourceOptions(steps=T))


def require_equal(step: nn.Module, shapes: Any, source: Source) -> None:
    """Output of the NIR graph and of the lowered network as torch has them, and not trivial."""
    x = spikes(shapes[0], T)
    (want,) = outputs(step, shapes, x)
    have = run(source.graph, source.semantics, x)["output"]
    np.testing.assert_allclose(have, want, atol=1e-5)
    assert 0.02 < np.abs(want).mean() < 0.9
    floats = snnhw.run_float(source, x)["output"]
    if source.deployment.readout == "rate":
        np.testing.assert_array_equal(floats, want)


NEURONS: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, Any]]] = {
    "snnTorch Leaky": (Leaky, ONE, {"reset": "subtract", "reset_timing": "next_step", "threshold": "gt"}),
    "soft reset": (
        lambda: SoftSame(0.8, 0.7),
        ONE,
        {"reset": "subtract", "reset_timing": "same_step", "threshold": "ge"},
    ),
    "soft reset inside": (lambda: SoftInside(0.8, 0.7), ONE, {"reset": "subtract", "reset_timing": "same_step"}),
    "hard reset": (lambda: Hard(0.75, 0.5, -0.25), ONE, {"reset": "v_reset", "threshold": "ge"}),
    "hard reset to zero": (lambda: Hard(0.75, 0.5, 0.0), ONE, {"reset": "zero"}),
    "STBP": (Stbp, TWO, {"reset": "zero", "threshold": "gt"}),
    "lower bound": (lambda: Floored(-0.5), ONE, {"reset": "subtract", "v_min": -0.5}),
    "current, same step": (lambda: Synaptic(True), TWO, {"current_order": "same_step"}),
    "current, next step": (lambda: Synaptic(False), TWO, {"current_order": "next_step"}),
    "current into IF": (lambda: Synaptic(True, beta=1.0), TWO, {"current_order": "same_step"}),
    "current and rest": (lambda: Synaptic(True, rest=0.1), TWO, {"current_order": "same_step"}),
    "late current and rest": (lambda: Synaptic(False, rest=0.1), TWO, {"current_order": "next_step"}),
    "zoo IF": (lambda: OfZoo(IF()), ONE, {"reset": "zero", "threshold": "ge"}),
    "zoo IF, soft": (lambda: OfZoo(IF(0.75, None)), ONE, {"reset": "subtract"}),
    "zoo LIF": (lambda: OfZoo(LIF(2.0, v_threshold=0.5, v_reset=0.1)), ONE, {"reset": "v_reset"}),
    "zoo PLIF": (lambda: OfZoo(PLIF(1.5, decay_input=False)), ONE, {"reset": "zero"}),
    "zoo iterative LIF": (lambda: OfZoo(IterativeLIF()), ONE, {"threshold": "gt"}),
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("name", NEURONS)
def test_neurons_give_torchs_spikes(name: str, named: bool, tmp_path: Path) -> None:
    make, shapes, said = NEURONS[name]
    step = Layer(make())
    names = (
        ["x", *(f"s{i}_in" for i in range(len(shapes) - 1))],
        ["spk", *(f"s{i}_out" for i in range(len(shapes) - 1))],
    )
    source = loaded(step, shapes, tmp_path, names=names if named else None)
    require_equal(step, shapes, source)
    (fields,) = source.semantics.nodes.values()
    assert said.items() <= dict(fields).items()


def test_per_neuron_parameters(tmp_path: Path) -> None:
    step = Layer(Leaky(torch.linspace(0.5, 0.95, 8), torch.linspace(0.4, 1.2, 8)))
    source = loaded(step, ONE, tmp_path)
    require_equal(step, ONE, source)
    node = source.graph.nodes["neuron"]
    np.testing.assert_allclose(node.v_threshold, np.linspace(0.4, 1.2, 8), rtol=1e-6)
    assert node.tau.shape == (8,)


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_blocks_and_opsets(opset: int, tmp_path: Path) -> None:
    step = Blocks()
    source = loaded(step, step.shapes, tmp_path, opset=opset)
    require_equal(step, step.shapes, source)
    assert {"one", "two", "three"} <= set(source.graph.nodes)
    assert len([post for pre, post in source.graph.edges if pre in ("one", "two") and post == "pool.AveragePool"]) == 2


@pytest.mark.parametrize(
    ("step", "shapes"), [(Recurrent(), TWO), (Late(), [ROW, CELLS, CELLS, (5,)])], ids=["recurrent", "late"]
)
def test_spikes_of_the_step_before(step: nn.Module, shapes: Any, tmp_path: Path) -> None:
    source = loaded(step, shapes, tmp_path)
    require_equal(step, shapes, source)
    (delay,) = (node for node in source.graph.nodes.values() if isinstance(node, nir.Delay))
    np.testing.assert_array_equal(delay.delay, np.full(8, source.semantics.dt))


def test_constants_go_into_the_layer_before(tmp_path: Path) -> None:
    step = Normed()
    source = loaded(step, ONE, tmp_path)
    require_equal(step, ONE, source)
    assert {type(n) for n in source.graph.nodes.values()} == {nir.Input, nir.Affine, nir.IF, nir.Output}


def test_gates_and_several_outputs(tmp_path: Path) -> None:
    step, shapes = Gate(), TWO
    names = (["x", "m1_in", "m2_in"], ["both", "a", "m1_out", "m2_out"])
    path = export(step, shapes, tmp_path / "gate.onnx", names)
    source = load_step(path, SourceOptions(steps=T, output_node="both"))
    assert [n for n in source.graph.nodes.values() if isinstance(n, nir.Threshold)]
    x = spikes(ROW, T)
    found = run(source.graph, source.semantics, x)
    for name, want in zip(("both", "a"), outputs(step, shapes, x, shown=2), strict=True):
        np.testing.assert_array_equal(found[name], want)
        assert 0.02 < want.mean() < 0.9
    with pytest.raises(SourceError, match="needs-flag"):
        load_step(path, SourceOptions(steps=T))


@pytest.mark.parametrize(("membrane", "readout"), [(True, "membrane"), (False, "mean")])
def test_readouts_without_spikes(membrane: bool, readout: str, tmp_path: Path) -> None:
    step, shapes = Readout(membrane), [ROW, CELLS, (3,)] if membrane else [ROW, CELLS]
    source = loaded(step, shapes, tmp_path)
    assert source.deployment.readout == readout
    require_equal(step, shapes, source)


def test_it_compiles_to_integers(tmp_path: Path) -> None:
    step, shapes = Layer(SoftSame(0.8, 0.7)), ONE
    path = export(step, shapes, tmp_path / "step.onnx")
    x = spikes(ROW, T, samples=40)
    source = load_source(path, samples=x)  # T is told by the samples
    artifact = snnhw.compile(source, target="loihi2", calibrate=x)
    found = snnhw.run(artifact, x, "onnx")
    agree = (found["predictions"] == snnhw.run_float(source, x)["predictions"]).mean()
    assert agree >= 0.9
    assert artifact.source["check"]["status"] == "equal"
    assert [c["status"] for c in artifact.checks if c["stage"] == "source = NIR"] == ["equal"]
    assert len(artifact.source["states"]) == 1


def test_pairs_by_name_order_and_flag() -> None:
    assert pairs(["x", "b_in", "a_in"], ["a_out", "spk", "b_out"], [], "f") == (
        "x", {"b_in": "b_out", "a_in": "a_out"}, ["spk"]
    )  # fmt: skip
    assert pairs(["m.0", "x"], ["y", "m_next"], [], "f") == ("m.0", {"x": "m_next"}, ["y"])
    assert pairs(["x", "p", "q"], ["s", "1", "2"], [], "f") == ("x", {"p": "1", "q": "2"}, ["s"])
    assert pairs(["x", "p", "q"], ["s", "1", "2"], ["x:2", "p:1"], "f") == ("q", {"x": "2", "p": "1"}, ["s"])
    assert pairs(["x", "spk", "mem"], ["1", "2"], [], "f") == ("x", {"spk": "1", "mem": "2"}, ["1"])
    with pytest.raises(SourceError, match="bad-flag: --state names no input and output of the ONNX step"):
        pairs(["x", "p"], ["s", "1"], ["p:3"], "f")
    with pytest.raises(SourceError) as caught:
        pairs(["x", "p", "q"], ["y"], [], "f")
    assert "state-pairs: which outputs of the ONNX step are the new values of which inputs is not told" in str(
        caught.value
    )


def test_state_flag_reaches_the_step(tmp_path: Path) -> None:
    class Swapped(nn.Module):
        def forward(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
            va, vb = a + x, 0.5 * b + x
            sa, sb = (va > 1).float(), (vb > 1).float()
            return sa + sb, vb * (1 - sb), va * (1 - sa)

    path = export(Swapped(), [ROW, ROW, ROW], tmp_path / "swapped.onnx", (["x", "a", "b"], ["y", "p", "q"]))
    source = load_source(path, SourceOptions(steps=T, state="a:q,b:p"))
    assert source.origin["states"] == {"a": "q", "b": "p"}
    assert {type(n) for n in source.graph.nodes.values()} == {nir.Input, nir.Output, nir.IF, nir.LIF}
    with pytest.raises(SourceError, match="not-a-neuron"):
        load_source(path, SourceOptions(steps=T))
