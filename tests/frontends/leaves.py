"""One layer of a framework alone: its own output, and that of the NIR nodes that its adapter makes of it."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import torch
from torch import Tensor, nn

from snnhw.frontends.live.adapter import GIVEN, OUT, Adapter, Cell
from snnhw.frontends.simulate import run
from snnhw.network import Comparison, Reset, ResetTiming
from snnhw.semantics import CurrentOrder, Semantics

DT = 1e-3
PLAIN = Semantics(
    dt=DT,
    reset=Reset.ZERO,
    reset_timing=ResetTiming.SAME_STEP,
    threshold=Comparison.GT,
    multispike=1,
    v_min=None,
    integrator="euler",
    current_order=CurrentOrder.SAME_STEP,
    v_init=0.0,
    time_layout="NT",
)
LEAF = "leaf"


def spikes_in(shape: tuple[int, ...], steps: int = 30, count: int = 8, gain: float = 1.0, seed: int = 0) -> Tensor:
    """Normal currents (N, T, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return gain * (torch.randn((count, steps, *shape), generator=generator) + 0.3)


def framework_output(adapter: Adapter, layer: nn.Module, x: Tensor) -> np.ndarray:
    """What the layer gives for (N, T, ...), as (N, T, ...), in the layout that its adapter says it has."""
    adapter.reset(layer)
    with torch.no_grad():
        if not adapter.keeps_time(layer):
            return _step_by_step(adapter, layer, x)
        for axes, given in (("NT", x), ("TN", x.transpose(0, 1)), ("(NT)", x.flatten(0, 1))):
            if adapter.call(layer, (given,), {}, given).axes == axes:
                out = adapter.call(layer, (given,), {}, nn.Module.__call__(layer, given)).out.detach()
                adapter.reset(layer)
                if axes == "(NT)":
                    out = out.unflatten(0, x.shape[:2])
                return (out.transpose(0, 1) if axes == "TN" else out).numpy()
    raise AssertionError(adapter.call(layer, (x,), {}, x).axes)


def _step_by_step(adapter: Adapter, layer: nn.Module, x: Tensor) -> np.ndarray:
    state, found = None, []
    for step in x.unbind(1):
        result = layer(step, state)
        found.append(adapter.call(layer, (step, state), {}, result).out)
        state = result[1]
    return torch.stack(found, 1).numpy()


def nodes_output(adapter: Adapter, layer: nn.Module, x: Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, Cell]:
    """What the nodes of the layer give for the same input, and the nodes."""
    cell = adapter.cell(layer, shape, OUT, DT, LEAF)
    ends = {"input": nir.Input({"input": np.array(x.shape[2:])}), "output": nir.Output({"output": np.array(shape)})}
    nodes = ends | {LEAF + name: part.node for name, part in cell.parts.items()}
    reads = [(pre, LEAF + name) for name, part in cell.parts.items() for pre, _ in part.reads]
    edges = [("input" if pre == GIVEN else LEAF + pre, post) for pre, post in reads] + [(LEAF, "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    semantics = replace(PLAIN, **cell.parts[""].semantics)
    return run(graph, semantics, x.double().numpy())["output"], cell


def assert_same(adapter: Adapter, layer: nn.Module, x: Tensor, shape: tuple[int, ...] | None = None) -> Cell:
    """Both give the same, and it is not nothing; readouts within float32."""
    want = framework_output(adapter, layer, x)
    have, cell = nodes_output(adapter, layer, x, tuple(want.shape[2:]) if shape is None else shape)
    assert np.abs(want).max() > 0
    if "threshold" in cell.parts[""].semantics:
        assert 0.005 < want.mean() < 20
        assert np.array_equal(want, have), f"{np.count_nonzero(want != have)} of {want.size} differ"
    else:
        assert np.allclose(want, have, rtol=1e-4, atol=1e-5)
    return cell


def node_names(cell: Cell) -> str:
    """Nodes of a cell, as a reader knows them."""
    names = [*sorted(name for name in cell.parts if name.startswith(".in")), ""]
    chain = " → ".join(type(cell.parts[name].node).__name__ for name in names)
    back = cell.parts.get(".w_rec")
    return chain if back is None else f"{chain} ↻ {type(back.node).__name__}"
