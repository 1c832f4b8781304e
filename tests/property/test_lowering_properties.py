"""Lowering on whatever hypothesis finds: chains of linear layers, and networks down to their integers."""

from __future__ import annotations

import hypothesis
import nir
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from snnhw.frontends.check import check_import
from snnhw.lowering.check import check_lowering
from snnhw.lowering.compose import compose, run_chain
from snnhw.lowering.lower import lower
from snnhw.network import Conv, verify
from tests.unit.frontends.modules import imported, random_module, values
from tests.unit.lowering.runs import integers

EXAMPLES = hypothesis.settings(max_examples=60)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[tuple[str, nir.NIRNode]], tuple[int, ...]]:
    """One to three convolutions, pools, scales on a small image; perhaps flattened into a matrix."""
    whole = st.integers
    channels = draw(st.sampled_from([2, 4]))
    shape = (channels, draw(whole(5, 9)), draw(whole(5, 9)))
    nodes: list[nir.NIRNode] = []
    size = shape
    for _ in range(draw(whole(1, 3))):
        node, size = draw(st.one_of(_convolutions(size), _pools(size), _scales(size)))
        nodes.append(node)
    if draw(st.booleans()):
        nodes.append(nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array(size)}))
        if draw(st.booleans()):
            weight = np.random.default_rng(len(nodes)).standard_normal((3, int(np.prod(size))))
            nodes.append(nir.Affine(weight=weight, bias=np.ones(3)))
    return [(f"n{i}", node) for i, node in enumerate(nodes)], shape


@st.composite
def _convolutions(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[nir.NIRNode, tuple[int, ...]]:
    kernel = draw(st.integers(1, min(3, *shape[1:])))
    dilation = draw(st.integers(1, 2)) if 2 * (kernel - 1) < min(shape[1:]) else 1
    groups = draw(st.sampled_from([1, 2, shape[0]]))
    outputs = shape[0] * draw(st.integers(1, 2))
    weight = np.random.default_rng(draw(st.integers(0, 9))).standard_normal(
        (outputs, shape[0] // groups, kernel, kernel)
    )
    stride, padding = (draw(st.integers(1, 2)),) * 2, (draw(st.integers(0, 2)),) * 2
    bias = np.full(outputs, float(draw(st.integers(0, 1))))
    node = nir.Conv2d(None, weight, stride, padding, (dilation, dilation), groups, bias)
    op = Conv("", stride, padding, (dilation, dilation), groups)
    return node, op.shape({"": weight}, shape)


@st.composite
def _pools(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[nir.NIRNode, tuple[int, ...]]:
    kernel = draw(st.integers(1, min(3, *shape[1:])))
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
    kind = draw(st.sampled_from([nir.AvgPool2d, nir.SumPool2d]))
    node = kind(np.array([kernel] * 2), np.array([stride] * 2), np.array([padding] * 2))
    return node, (shape[0], *((n + 2 * padding - kernel) // stride + 1 for n in shape[1:]))


@st.composite
def _scales(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[nir.NIRNode, tuple[int, ...]]:
    return nir.Scale(np.full(shape, float(draw(st.integers(2, 3))))), shape


@EXAMPLES
@hypothesis.given(chains())
def test_a_composed_chain_gives_what_torch_gives(chain: tuple[list[tuple[str, nir.NIRNode]], tuple[int, ...]]) -> None:
    nodes, shape = chain
    x = np.random.default_rng(0).standard_normal((2, *shape))
    want = run_chain(nodes, torch.from_numpy(x)).numpy()
    found = compose(nodes, shape, want.shape[1:])
    np.testing.assert_allclose(found.kind.apply(found.arrays, x, want.shape[1:]), want, rtol=1e-9, atol=1e-9)
    for factor in (np.asarray(2.5), np.arange(1.0, want.shape[1] + 1).reshape(-1, *[1] * (want.ndim - 2))):
        arrays = {**found.arrays, "": found.kind.scaled(found.arrays, factor, shape, want.shape[1:], "chain")}
        scaled = found.kind.apply(arrays, x, want.shape[1:])
        np.testing.assert_allclose(scaled, want * factor, rtol=1e-9, atol=1e-9)


@EXAMPLES
@hypothesis.given(seed=st.integers(0, 1 << 20), max_delay=st.integers(2, 5))
def test_module_graph_and_network_spike_alike(seed: int, max_delay: int) -> None:
    module, shape, readout = random_module(seed, side=7)
    source = imported(module, shape, steps=3, readout=readout)
    network = lower(source.graph, source.semantics, source.deployment, max_delay)
    verify(network)
    assert max(p.delay for p in network.projections) <= max_delay
    x = values(source, samples=2)
    assert check_import(source, x).different == 0
    assert check_lowering(source, network, x).different == 0


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("seed", range(10))
def test_pipeline_and_layers_agree_in_integers(seed: int, target: str) -> None:
    """Random networks, compiled; soft resets exist on loihi2 only."""
    module, shape, readout = random_module(seed, side=5)
    for layer in module.modules():
        if target == "loihi1" and getattr(layer, "_v_reset", 0.0) is None:
            layer._v_reset = 0.0  # type: ignore[union-attr, assignment]
    source = imported(module, shape, steps=3, readout=readout)
    assert integers(source, target, max_delay=2, samples=2).differences() == []
