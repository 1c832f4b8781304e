"""The plain operators against torch, their transposes, and what is derived from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from snnhw.errors import LoweringError
from snnhw.linear import adjoint, apply, conv_shape, counting, fan_out, reach, scale_rows
from snnhw.network import (
    Array,
    Conv,
    Dense,
    Diagonal,
    Inject,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Readout,
    Shape,
    Sparse,
)
from snnhw.torch_ops import product, weight_tensor

RNG = np.random.default_rng(0)
MATRIX = sparse.random(5, 12, 0.4, format="csr", random_state=0, data_rvs=lambda n: RNG.integers(-9, 9, n))
CASES: list[tuple[str, LinearOp, dict[str, Array], Shape, Shape]] = [
    ("dense", Dense("w"), {"w": RNG.integers(-9, 9, (6, 12))}, (3, 2, 2), (6,)),
    ("diagonal", Diagonal("w"), {"w": RNG.integers(-9, 9, (3, 1, 1))}, (3, 2, 2), (3, 2, 2)),
    ("scalar", Diagonal("w"), {"w": np.asarray(3)}, (3, 2, 2), (3, 2, 2)),
    (
        "sparse",
        Sparse("w"),
        {"w": MATRIX.data.astype(np.int64), "w/indices": MATRIX.indices, "w/indptr": MATRIX.indptr},
        (3, 2, 2),
        (5,),
    ),
    ("conv", Conv("w", (2, 1), (1, 2)), {"w": RNG.integers(-9, 9, (4, 3, 3, 2))}, (3, 6, 5), (4, 3, 8)),
    ("dilated", Conv("w", (1, 1), (0, 1), (2, 1)), {"w": RNG.integers(-9, 9, (4, 3, 3, 2))}, (3, 6, 5), (4, 2, 6)),
    ("grouped", Conv("w", (2, 2), (1, 1), (1, 1), 2), {"w": RNG.integers(-9, 9, (6, 2, 3, 3))}, (4, 6, 5), (6, 3, 3)),
    ("depthwise", Conv("w", groups=4), {"w": RNG.integers(-9, 9, (4, 1, 2, 2))}, (4, 6, 5), (4, 5, 4)),
]
each_operator = pytest.mark.parametrize(
    ("op", "weights", "pre", "post"), [pytest.param(*rest, id=name) for name, *rest in CASES]
)


@each_operator
def test_apply_is_what_torch_computes(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    x = RNG.integers(-5, 6, (3, *pre))
    weight = weight_tensor(op, weights, int(np.prod(pre)), torch.float64)
    want = product(op, weight, torch.from_numpy(x).double(), post).numpy()
    have = apply(op, weights, x, post)
    assert have.dtype == np.int64
    np.testing.assert_array_equal(have, want)
    real = apply(op, {name: a * 1.0 if name == "w" else a for name, a in weights.items()}, x * 1.0, post)
    assert real.dtype == np.float64
    np.testing.assert_array_equal(real, want)


@each_operator
def test_adjoint(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    """<W x, y> = <x, W^T y>, in whole numbers."""
    x, y = RNG.integers(-5, 6, (1, *pre)), RNG.integers(-5, 6, (1, *post))
    assert (apply(op, weights, x, post) * y).sum() == (x * adjoint(op, weights, y, pre)).sum()


def test_integers_do_not_pass_through_floats() -> None:
    large = np.array([[1 << 60, 1]])
    assert apply(Dense("w"), {"w": large}, np.array([[1, 1]]), (1,))[0, 0] == (1 << 60) + 1


def test_narrow_integers_do_not_overflow() -> None:
    weights, x = {"w": np.full((1, 4), 127, np.int8)}, np.full((1, 4), 127, np.int8)
    assert apply(Dense("w"), weights, x, (1,))[0, 0] == 4 * 127 * 127


def test_a_sparse_matrix_that_points_outside_is_no_crash() -> None:
    weights = {"w": np.ones(1), "w/indices": np.array([99]), "w/indptr": np.array([0, 1])}
    with pytest.raises(RuntimeError, match="col_indices"):
        weight_tensor(Sparse("w"), weights, 3, torch.float64)


def test_injection() -> None:
    x = RNG.integers(-5, 6, (2, 3))
    np.testing.assert_array_equal(apply(Inject(), {}, x, (3,)), x)
    np.testing.assert_array_equal(adjoint(Inject(), {}, x, (3,)), x)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv_shape(stride: int, dilation: int) -> None:
    op = Conv("w", (stride, 1), (1, 0), (dilation, 1))
    y = torch.nn.functional.conv2d(torch.zeros(1, 2, 9, 7), torch.zeros(3, 2, 3, 2), None, *_options(op))
    assert conv_shape((2, 9, 7), (3, 2, 3, 2), op) == tuple(y.shape[1:])


def _options(op: Conv) -> Any:
    return op.stride, op.padding, op.dilation


def joined(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> Network[Any]:
    populations = (Population("pre", pre, Kind.INPUT), Population("post", post, Kind.NEURON, start=1))
    return Network(populations, (Projection("p", "pre", "post", op),), weights, 1, Readout("rate", "post"))


@each_operator
def test_fan_out_counts_synapses(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    """Column sums of the operator's matrix of ones: border aware, zero weights only where asked for."""
    network = joined(op, weights, pre, post)
    unit = np.eye(int(np.prod(pre)), dtype=np.int64).reshape(-1, *pre)
    for nonzero in (False, True):
        counted, table = counting(network.projections[0], network, nonzero=nonzero)
        want = apply(counted, table, unit, post).reshape(len(unit), -1).sum(axis=1)
        have = fan_out(network.projections[0], network, nonzero=nonzero)
        np.testing.assert_array_equal(have.ravel(), want)


def test_fan_out_at_the_border_of_an_image() -> None:
    network = joined(Conv("w", padding=(1, 1)), {"w": np.ones((2, 1, 3, 3), int)}, (1, 3, 3), (2, 3, 3))
    np.testing.assert_array_equal(fan_out(network.projections[0], network)[0], [[8, 12, 8], [12, 18, 12], [8, 12, 8]])


def test_an_injection_has_no_synapses() -> None:
    network = joined(Inject(), {}, (3,), (3,))
    assert not fan_out(network.projections[0], network).any()
    assert counting(network.projections[0], network) == (Inject(), {})


@each_operator
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 2)])
def test_reach_bounds_every_sum(
    op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape, low: int, high: int
) -> None:
    bottom, top = reach(op, weights, low, high, pre, post)
    y = apply(op, weights, RNG.integers(low, high + 1, (200, *pre)), post)
    assert (bottom <= y).all()
    assert (y <= top).all()


@each_operator
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 2)])
def test_reach_of_whole_numbers_is_attained_by_every_neuron(
    op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape, low: int, high: int
) -> None:
    """Each row of the matrix, with every input at the end that its sign asks for; borders included."""
    bottom, top = reach(op, weights, low, high, pre, post)
    rows = adjoint(op, weights, np.eye(int(np.prod(post)), dtype=np.int64).reshape(-1, *post), pre)
    rows = rows.reshape(-1, int(np.prod(pre)))
    np.testing.assert_array_equal(top.ravel(), (np.where(rows > 0, high, low) * rows).sum(axis=1))
    np.testing.assert_array_equal(bottom.ravel(), (np.where(rows > 0, low, high) * rows).sum(axis=1))
    assert top.dtype == bottom.dtype == np.int64


def test_reach_is_attained() -> None:
    bottom, top = reach(Dense("w"), {"w": np.array([[2, -3]])}, 0, 5, (2,), (1,))
    assert (bottom[0], top[0]) == (-15, 10)


@each_operator
def test_scaled_rows_scale_what_arrives(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    arrays = {name.removeprefix("w"): array for name, array in weights.items()}
    x = RNG.integers(-5, 6, (2, *pre)) * 1.0
    want = apply(op, weights, x, post)
    for factor in (np.asarray(0.5), np.arange(1.0, post[0] + 1).reshape(-1, *[1] * (len(post) - 1))):
        scaled = {f"w{part}": array for part, array in scale_rows(op, arrays, factor, post, "p").items()}
        np.testing.assert_allclose(apply(op, scaled, x, post), want * factor, rtol=1e-12)


def test_a_convolution_cannot_hold_a_factor_per_neuron() -> None:
    with pytest.raises(LoweringError, match="a factor that differs inside a channel cannot enter") as caught:
        scale_rows(Conv("w"), {"": np.ones((2, 1, 1, 1))}, np.arange(8.0).reshape(2, 2, 2), (2, 2, 2), "p")
    assert (caught.value.code, caught.value.where) == ("per-neuron-gain", "p")
