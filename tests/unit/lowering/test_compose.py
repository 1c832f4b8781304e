"""A chain of linear layers as one operator: the closed form where there is one, always the same numbers as torch."""

from __future__ import annotations

from math import prod
from typing import Any

import nir
import numpy as np
import pytest
import torch

from snnhw.errors import LoweringError
from snnhw.lowering import compose as module
from snnhw.lowering.compose import Composed, compose, run_chain
from snnhw.network import Conv, Dense, Diagonal, Sparse
from tests.unit.lowering.runs import TARGETS, made_for
from tests.unit.lowering.timing import DT, Nodes, bits, chained, source

Chain = list[tuple[str, nir.NIRNode]]


def conv(inputs: int, outputs: int, size: int, *, groups: int = 1, bias: bool = False, **options: Any) -> nir.Conv2d:
    rng = np.random.default_rng(inputs + outputs + size)
    weight = rng.standard_normal((outputs, inputs // groups, size, size))
    own = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), **options}
    return nir.Conv2d(None, weight=weight, groups=groups, bias=rng.random(outputs) * bias, **own)


def pool(size: int, stride: int | None = None, padding: int = 0, kind: type = nir.AvgPool2d) -> nir.NIRNode:
    pairs = ([size] * 2, [stride or size] * 2, [padding] * 2)
    found: nir.NIRNode = kind(*(np.array(pair) for pair in pairs))
    return found


def flatten() -> nir.Flatten:
    return nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array([1])})


def dense(inputs: int, outputs: int) -> nir.Affine:
    rng = np.random.default_rng(inputs)
    return nir.Affine(weight=rng.standard_normal((outputs, inputs)), bias=rng.random(outputs))


def composed(nodes: list[nir.NIRNode], shape: tuple[int, ...]) -> Composed:
    """The operator of a chain, after comparing it with torch on random numbers."""
    chain: Chain = [(f"n{i}", node) for i, node in enumerate(nodes)]
    x = np.random.default_rng(0).standard_normal((3, *shape))
    want = run_chain(chain, torch.from_numpy(x)).numpy()
    found = compose(chain, shape, want.shape[1:])
    np.testing.assert_allclose(found.kind.apply(found.arrays, x, want.shape[1:]), want, rtol=1e-9, atol=1e-9)
    return found


CONVOLUTIONS: list[tuple[str, list[nir.NIRNode], tuple[int, ...], Conv, tuple[int, ...]]] = [
    ("conv", [conv(2, 3, 3, padding=(1, 1))], (2, 6, 6), Conv("", (1, 1), (1, 1)), (3, 2, 3, 3)),
    # the STBP network: pool 2 and conv 3 padded by 1 is conv 6, stride 2, padding 2
    ("pool-conv", [pool(2), conv(2, 3, 3, padding=(1, 1))], (2, 8, 8), Conv("", (2, 2), (2, 2)), (3, 2, 6, 6)),
    ("pool k>s, conv", [pool(3, 2), conv(2, 3, 3)], (2, 9, 9), Conv("", (2, 2)), (3, 2, 7, 7)),
    ("pool k<s drops rows", [pool(2, 3), conv(2, 3, 2)], (2, 9, 9), Conv("", (3, 3)), (3, 2, 5, 5)),
    ("pool drops the last row", [pool(2), conv(2, 3, 2)], (2, 9, 9), Conv("", (2, 2)), (3, 2, 4, 4)),
    ("sum pool", [pool(2, kind=nir.SumPool2d), conv(2, 3, 3)], (2, 8, 8), Conv("", (2, 2)), (3, 2, 6, 6)),
    ("pool, dilated conv", [pool(2), conv(2, 3, 2, dilation=(2, 2))], (2, 8, 8), Conv("", (2, 2)), (3, 2, 6, 6)),
    ("pool, grouped conv", [pool(2), conv(4, 6, 2, groups=2)], (4, 6, 6), Conv("", (2, 2), groups=2), (6, 2, 4, 4)),
    ("pool, strided conv", [pool(2), conv(2, 3, 2, stride=(2, 2))], (2, 9, 9), Conv("", (4, 4)), (3, 2, 4, 4)),
    ("conv-pool", [conv(2, 3, 3, padding=(1, 1)), pool(2)], (2, 8, 8), Conv("", (2, 2), (1, 1)), (3, 2, 4, 4)),
    ("grouped conv-pool", [conv(4, 6, 2, groups=2), pool(2)], (4, 7, 7), Conv("", (2, 2), groups=2), (6, 2, 3, 3)),
    ("pool-pool-conv", [pool(2), pool(2), conv(2, 3, 2)], (2, 12, 12), Conv("", (4, 4)), (3, 2, 8, 8)),
    ("pool-scale-conv", [pool(2), nir.Scale(np.array(3.0)), conv(2, 3, 2)], (2, 6, 6), Conv("", (2, 2)), (3, 2, 4, 4)),
    ("padded pool", [pool(3, 2, 1)], (2, 8, 8), Conv("", (2, 2), (1, 1), groups=2), (2, 1, 3, 3)),
    ("bias is left out", [pool(2), conv(2, 3, 3, bias=True)], (2, 8, 8), Conv("", (2, 2)), (3, 2, 6, 6)),
]


@pytest.mark.parametrize(
    ("nodes", "shape", "op", "weight"), [pytest.param(*rest, id=name) for name, *rest in CONVOLUTIONS]
)
def test_closed_form(nodes: list[nir.NIRNode], shape: tuple[int, ...], op: Conv, weight: tuple[int, ...]) -> None:
    found = composed(nodes, shape)
    assert found.kind == op
    assert found.arrays[""].shape == weight


NO_CLOSED_FORM: list[tuple[str, list[nir.NIRNode], tuple[int, ...]]] = [
    ("pool drops rows and conv pads", [pool(2), conv(2, 3, 3, padding=(1, 1))], (2, 9, 9)),
    ("padding on both", [pool(3, 2, 1), conv(2, 3, 3, padding=(1, 1))], (2, 8, 8)),
    ("overlapping pool and padding", [pool(3, 2), conv(2, 3, 3, padding=(1, 1))], (2, 9, 9)),
    ("conv-conv", [conv(2, 3, 2), conv(3, 2, 2)], (2, 5, 5)),
    ("conv-conv with biases", [conv(2, 3, 2, bias=True), conv(3, 2, 2, bias=True, padding=(1, 1))], (2, 5, 5)),
    ("different scales", [nir.Scale(np.arange(1.0, 19.0).reshape(2, 3, 3)), conv(2, 2, 2)], (2, 3, 3)),
    ("flatten alone", [flatten()], (2, 3, 3)),
]


@pytest.mark.parametrize(("nodes", "shape"), [pytest.param(*rest, id=name) for name, *rest in NO_CLOSED_FORM])
def test_probed_where_no_closed_form_is_exact(nodes: list[nir.NIRNode], shape: tuple[int, ...]) -> None:
    found = composed(nodes, shape)
    assert isinstance(found.kind, Sparse)


@pytest.mark.parametrize(("nodes", "shape"), [pytest.param(*rest[:2], id=name) for name, *rest in CONVOLUTIONS])
def test_probing_gives_what_the_closed_form_gives(nodes: list[nir.NIRNode], shape: tuple[int, ...]) -> None:
    chain: Chain = [(f"n{i}", node) for i, node in enumerate(nodes)]
    x = np.random.default_rng(1).standard_normal((2, *shape))
    post = run_chain(chain, torch.from_numpy(x)).shape[1:]
    one, other = compose(chain, shape, tuple(post)), module._probe(chain, shape, tuple(post))
    np.testing.assert_allclose(
        one.kind.apply(one.arrays, x, tuple(post)), other.kind.apply(other.arrays, x, tuple(post)), atol=1e-9
    )


def test_probing_stores_no_synapse_that_is_not_there() -> None:
    """Biases cancel exactly, or every pair of neurons would look connected."""
    first, second = conv(2, 3, 2, bias=True), conv(3, 2, 2, bias=True)
    found = composed([first, second], (2, 6, 6))
    assert len(found.arrays[""]) <= 2 * 16 * (2 * 3 * 3)


def test_pool_flatten_linear_is_a_matrix_with_replicated_columns() -> None:
    last = dense(8, 3)
    found = composed([pool(2), flatten(), last], (2, 4, 4))
    assert isinstance(found.kind, Dense)
    columns = found.arrays[""].reshape(3, 2, 2, 2, 2, 2)  # out, channel, row, row in pool, column, column in pool
    np.testing.assert_allclose(columns[..., 0, :, 0], last.weight.reshape(3, 2, 2, 2) / 4, rtol=1e-12)
    assert (columns == columns[..., :1, :, :1]).all()


def test_global_pool_and_linear() -> None:
    found = composed([pool(7), flatten(), dense(2, 3)], (2, 7, 7))
    assert found.arrays[""].shape == (3, 98)


def test_nothing_between_two_neurons_is_the_identity() -> None:
    found = compose([], (2, 3), (2, 3))
    assert found.kind == Diagonal("")
    assert found.arrays[""] == 1.0


def test_several_hundred_inputs_are_probed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_BATCH", 7)
    composed([conv(2, 3, 2), conv(3, 2, 2)], (2, 5, 5))  # `composed` compares with torch
    composed([pool(2), flatten(), dense(8, 10)], (2, 4, 4))


def test_too_many_synapses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NONZERO", 100)
    with pytest.raises(LoweringError) as caught:
        composed([conv(2, 3, 2), conv(3, 2, 2)], (2, 5, 5))
    assert str(caught.value) == (
        "too-many-synapses: a chain of linear layers has no closed form and too many synapses\n"
        "  where: n0 -> n1\n"
        f"  needed: more than {2 * 9 * 18}\n"
        "  limit: 100\n"
        "  hint: put a neuron between the layers, or merge them before import"
    )


def test_the_size_of_a_matrix() -> None:
    assert prod(composed([flatten(), dense(18, 4)], (2, 3, 3)).arrays[""].shape) == 72


def test_a_matrix_of_too_many_synapses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NONZERO", 100)
    with pytest.raises(LoweringError) as caught:
        composed([dense(11, 1), dense(1, 11)], (11,))
    assert str(caught.value).startswith("too-many-synapses: ")
    assert "  where: n0 -> n1\n  needed: 121\n  limit: 100\n" in str(caught.value)


def test_kernels_that_are_too_large_to_write_out_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stride of a million puts the taps of the next kernel a million pixels apart."""
    monkeypatch.setattr(module, "MAX_KERNEL", 1 << 10)
    assert isinstance(composed([pool(2), conv(2, 3, 2)], (2, 6, 6)).kind, Conv)
    monkeypatch.setattr(module, "MAX_KERNEL", 7)
    assert isinstance(composed([pool(2), conv(2, 3, 2)], (2, 6, 6)).kind, Sparse)
    monkeypatch.setattr(module, "MAX_KERNEL", 8)
    assert isinstance(composed([pool(2), conv(2, 3, 2)], (2, 6, 6)).kind, Sparse)


def test_a_convolution_that_reads_padding_only() -> None:
    """A stride and a padding such that no window meets a pixel: the neurons have their bias, and one synapse of 0."""
    nodes: Nodes = {
        "a": nir.IF(r=np.full((1, 2, 1), 1 / DT), v_threshold=np.full((1, 2, 1), 0.5), v_reset=np.zeros((1, 2, 1))),
        "p": nir.SumPool2d(kernel_size=np.array([2, 1]), stride=np.array([1, 1]), padding=np.array([0, 0])),
        "c": nir.Conv2d((1, 1), np.ones((1, 1, 1, 1)), (2, 1), (1, 0), 1, 1, np.ones(1)),
        "b": nir.IF(r=np.full((1, 2, 1), 1 / DT), v_threshold=np.full((1, 2, 1), 1.5), v_reset=np.zeros((1, 2, 1))),
    }
    made = source(nodes, chained("input", "a", "p", "c", "b", "output"), (1, 2, 1), (1, 2, 1), 6)
    for target in TARGETS:
        found = made_for(made, target, bits(0, 3, 6, 1, 2, 1))
        assert found.differences() == []
        np.testing.assert_array_equal(found.run_fast()["spikes/b"].sum(1), 3)
