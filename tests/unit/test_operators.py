"""The plain operators against torch, their transposes, and what is derived from them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from snnhw.errors import LoweringError
from snnhw.mapping.partition import grid as cut
from snnhw.network import (
    Array,
    Conv,
    Dense,
    Diagonal,
    Inject,
    LinearOp,
    Shape,
    Sparse,
)
from snnhw.operators import Candidate, Conv1d, ConvTranspose, Operator, Pad, Upsample
from snnhw.operators.windows import Copies

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
    ("conv1d", Conv1d("w", (2,), (1,)), {"w": RNG.integers(-9, 9, (4, 3, 3))}, (3, 8), (4, 4)),
    ("conv1d of groups", Conv1d("w", (1,), (0,), (2,), 2), {"w": RNG.integers(-9, 9, (4, 2, 3))}, (4, 7), (4, 3)),
    ("transposed", ConvTranspose("w", (2, 1), (1, 0)), {"w": RNG.integers(-9, 9, (4, 3, 3, 2))}, (3, 4, 3), (4, 7, 4)),
    (
        "transposed of groups",
        ConvTranspose("w", (2, 3), (0, 1), (1, 2), (2, 1), 2),
        {"w": RNG.integers(-9, 9, (6, 2, 3, 3))},
        (4, 3, 4),
        (6, 10, 12),
    ),
    ("upsampling", Upsample("w", (2, 3)), {"w": RNG.integers(-9, 9, (3, 1, 1))}, (3, 2, 3), (3, 4, 9)),
    ("upsampling of a sequence", Upsample("w", (2,)), {"w": np.asarray(3)}, (3, 4), (3, 8)),
    (
        "candidate",
        Candidate("w", (2, 1), (1, 1), (1, 1), 1, ((2, 2), (2, 2), (0, 0), (1, 1), False), (1, 0), (1, 1), (1, 0)),
        {"w": RNG.integers(-9, 9, (4, 3, 3, 2))},
        (3, 9, 8),
        (4, 2, 4),
    ),
    (
        "candidate of windows that share pixels and are cut",
        Candidate("w", (1, 1), (1, 0), (1, 2), 2, ((3, 3), (1, 2), (1, 1), (1, 1), True), (0, 1), (1, 1), (0, 1)),
        {"w": RNG.integers(-9, 9, (4, 2, 3, 2))},
        (4, 5, 8),
        (4, 5, 4),
    ),
    (
        "candidate of a sequence",
        Candidate("w", (1,), (1,), (1,), 1, ((3,), (2,), (1,), (2,), False), (1,), (1,), (1,)),
        {"w": RNG.integers(-9, 9, (4, 3, 3))},
        (3, 8),
        (4, 3),
    ),
    ("padding", Pad("w", ((1, 0), (2, 3))), {"w": np.asarray(3)}, (3, 4, 3), (3, 5, 8)),
    ("cutting", Pad("w", ((-1, 2), (0, -2))), {"w": RNG.integers(-9, 9, (3, 1, 1))}, (3, 4, 4), (3, 5, 2)),
]
each_operator = pytest.mark.parametrize(
    ("op", "weights", "pre", "post"), [pytest.param(*rest, id=name) for name, *rest in CASES]
)


@each_operator
def test_apply_is_what_torch_computes(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    x = RNG.integers(-5, 6, (3, *pre))
    weight = op.tensor(weights, pre, post, torch.float64)
    want = op.product(weight, torch.from_numpy(x).double(), post).numpy()
    have = op.apply(weights, x, post)
    assert have.dtype == np.int64
    np.testing.assert_array_equal(have, want)
    real = op.apply({name: a * 1.0 if name == "w" else a for name, a in weights.items()}, x * 1.0, post)
    assert real.dtype == np.float64
    np.testing.assert_array_equal(real, want)


@each_operator
def test_adjoint(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    """<W x, y> = <x, W^T y>, in whole numbers."""
    x, y = RNG.integers(-5, 6, (1, *pre)), RNG.integers(-5, 6, (1, *post))
    assert (op.apply(weights, x, post) * y).sum() == (x * op.adjoint(weights, y, pre)).sum()


def test_integers_do_not_pass_through_floats() -> None:
    large = np.array([[1 << 60, 1]])
    assert Dense("w").apply({"w": large}, np.array([[1, 1]]), (1,))[0, 0] == (1 << 60) + 1


def test_narrow_integers_do_not_overflow() -> None:
    weights, x = {"w": np.full((1, 4), 127, np.int8)}, np.full((1, 4), 127, np.int8)
    assert Dense("w").apply(weights, x, (1,))[0, 0] == 4 * 127 * 127


def test_a_sparse_matrix_that_points_outside_is_no_crash() -> None:
    weights = {"w": np.ones(1), "w/indices": np.array([99]), "w/indptr": np.array([0, 1])}
    with pytest.raises(RuntimeError, match="col_indices"):
        Sparse("w").tensor(weights, (3,), (1,), torch.float64)


def test_injection() -> None:
    x = RNG.integers(-5, 6, (2, 3))
    np.testing.assert_array_equal(Inject().apply({}, x, (3,)), x)
    np.testing.assert_array_equal(Inject().adjoint({}, x, (3,)), x)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv_shape(stride: int, dilation: int) -> None:
    op = Conv("w", (stride, 1), (1, 0), (dilation, 1))
    y = torch.nn.functional.conv2d(torch.zeros(1, 2, 9, 7), torch.zeros(3, 2, 3, 2), None, *_options(op))
    assert op.shape({"w": np.empty((3, 2, 3, 2))}, (2, 9, 7)) == tuple(y.shape[1:])


def _options(op: Conv) -> Any:
    return op.stride, op.padding, op.dilation


@each_operator
def test_fan_out_counts_synapses(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    """Column sums of the operator's matrix of ones: border aware, zero weights only where asked for."""
    unit = np.eye(int(np.prod(pre)), dtype=np.int64).reshape(-1, *pre)
    for nonzero in (False, True):
        ones = (weights["w"] != 0) if nonzero else np.ones(weights["w"].shape)
        table = {**weights, "w": ones.astype(np.int64)}
        want = op.apply(table, unit, post).reshape(len(unit), -1).sum(axis=1)
        np.testing.assert_array_equal(op.fan_out(weights, pre, post, nonzero=nonzero).ravel(), want)


def test_fan_out_at_the_border_of_an_image() -> None:
    found = Conv("w", padding=(1, 1)).fan_out({"w": np.ones((2, 1, 3, 3), int)}, (1, 3, 3), (2, 3, 3))
    np.testing.assert_array_equal(found[0], [[8, 12, 8], [12, 18, 12], [8, 12, 8]])


def test_an_injection_has_no_synapses() -> None:
    assert not Inject().fan_out({}, (3,), (3,)).any()
    assert Inject().arrays({}) == {}


@each_operator
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 2)])
def test_reach_bounds_every_sum(
    op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape, low: int, high: int
) -> None:
    bottom, top = op.reach(weights, low, high, pre, post)
    y = op.apply(weights, RNG.integers(low, high + 1, (200, *pre)), post)
    assert (bottom <= y).all()
    assert (y <= top).all()


@each_operator
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 2)])
def test_reach_of_whole_numbers_is_attained_by_every_neuron(
    op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape, low: int, high: int
) -> None:
    """Each row of the matrix, with every input at the end that its sign asks for; borders included."""
    bottom, top = op.reach(weights, low, high, pre, post)
    rows = op.adjoint(weights, np.eye(int(np.prod(post)), dtype=np.int64).reshape(-1, *post), pre)
    rows = rows.reshape(-1, int(np.prod(pre)))
    np.testing.assert_array_equal(top.ravel(), (np.where(rows > 0, high, low) * rows).sum(axis=1))
    np.testing.assert_array_equal(bottom.ravel(), (np.where(rows > 0, low, high) * rows).sum(axis=1))
    assert top.dtype == bottom.dtype == np.int64


def test_reach_is_attained() -> None:
    bottom, top = Dense("w").reach({"w": np.array([[2, -3]])}, 0, 5, (2,), (1,))
    assert (bottom[0], top[0]) == (-15, 10)


@each_operator
def test_scaled_rows_scale_what_arrives(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    x = RNG.integers(-5, 6, (2, *pre)) * 1.0
    want = op.apply(weights, x, post)
    for factor in (np.asarray(0.5), np.arange(1.0, post[0] + 1).reshape(-1, *[1] * (len(post) - 1))):
        scaled = {**weights, "w": op.scaled(weights, factor, pre, post, "p")}
        np.testing.assert_allclose(op.apply(scaled, x, post), want * factor, rtol=1e-12)


@each_operator
def test_patches_times_rows_are_what_arrives(op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape) -> None:
    """What calibration measures of a row is what the row multiplies, at every position."""
    if not op.alike:
        return
    x, w = RNG.integers(-5, 6, (3, *pre)), weights["w"]
    met = op.patches(weights, x, 1 << 20, lambda rows, most: rows)
    if isinstance(op, Candidate):  # what any candidate reads: every position of the convolution
        op, post = op.plain, op.plain.shape(weights, pre)
    want = np.moveaxis(op.apply(weights, x, post), 1, -1).reshape(-1, len(w))
    np.testing.assert_array_equal(met @ w.reshape(len(w), -1).T, want)


def test_a_convolution_cannot_hold_a_factor_per_neuron() -> None:
    with pytest.raises(LoweringError, match="a factor that differs inside a channel cannot enter") as caught:
        Conv("w").scaled({"w": np.ones((2, 1, 1, 1))}, np.arange(8.0).reshape(2, 2, 2), (1, 2, 2), (2, 2, 2), "p")
    assert (caught.value.code, caught.value.where) == ("per-neuron-gain", "p")


def grid(shape: Shape) -> Array:
    """Boxes that cut every axis in two where that is possible."""
    return cut(shape, tuple(min(n, 2) for n in shape), tuple(range(len(shape))))


def ragged(shape: Shape) -> Array:
    """Boxes that form no grid: the last axis is cut at another place behind each cut of the first."""
    first, last, rest = shape[0] // 2, shape[-1], [(0, n) for n in shape[1:-1]]
    if len(shape) < 2 or not first:
        return grid(shape)
    parts = (((0, first), 1), ((first, shape[0]), last - 1))
    cuts = [(rows, ends) for rows, at in parts for ends in ((0, at), (at, last)) if ends[0] < ends[1]]
    return np.array([[rows, *rest, ends] for rows, ends in cuts], np.int64)


@each_operator
def test_closed_forms_are_what_follows_from_the_synapses(
    op: LinearOp, weights: dict[str, Array], pre: Shape, post: Shape
) -> None:
    """Every method that an operator overrides, against the one that goes by its synapse lists."""
    table = {**weights, "w": np.where(weights["w"] % 3 == 0, 0, weights["w"])}
    x, y = RNG.integers(-5, 6, (2, *pre)), RNG.integers(0, 2, (2, *post))
    arguments: dict[str, tuple[Any, ...]] = {
        "apply": (table, x, post),
        "adjoint": (table, y, pre),
        "reach": (table, -2, 3, pre, post),
        "magnitude": (table, 7, pre, post),
        "fan_out": (table, pre, post),
        "fan_in": (table, pre, post),
        "full": (table, pre, post),
        "lists": (table, pre, post, grid(post), lambda n: np.where(n > 0, n * 8 + 20, 0), False),
        "axons": (table, pre, post, grid(pre), grid(post), lambda n: (n, n)),
        "received": (table, pre, post, np.abs(x[0]).astype(np.float64)),
        "traffic": (table, pre, post, grid(post), np.abs(x[0]).astype(np.float64)),
    }
    for name, given in arguments.items():
        have, want = getattr(op, name)(*given), getattr(Operator, name)(op, *given)
        for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (have, want)), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    for boxes in (grid(post), grid(post)[1:], ragged(post)):  # some neurons may lie in no box, boxes form no grid
        (kind, counts), (each, wanted) = (
            op.spread(table, pre, post, boxes),
            Operator.spread(op, table, pre, post, boxes),
        )
        np.testing.assert_array_equal(counts.toarray()[kind], wanted.toarray()[each])
    alike = (table, pre, post, grid(pre), grid(post), np.full(pre, 3.0))
    np.testing.assert_allclose(op.flows(*alike), Operator.flows(op, *alike), rtol=1e-12)
    np.testing.assert_array_equal(
        np.broadcast_to(op.row_largest(table, pre, post), post).reshape(op.rows(post)[0], -1).max(axis=1),
        Operator.row_largest(op, table, pre, post).reshape(op.rows(post)[0], -1).max(axis=1),
    )
    factor = np.arange(1.0, 1 + np.prod(op.rows(post))).reshape(op.rows(post))
    for form in (op.scaled, partial(Operator.scaled, op)):
        if form == op.scaled or not isinstance(op, Copies):  # a copy's weights grow to one for each neuron
            scaled = {**table, "w": form(table, factor, pre, post, "p")}
            np.testing.assert_array_equal(op.apply(scaled, x, post), op.apply(table, x, post) * factor)
    got = op.fan_out(table, pre, post, nonzero=True)
    np.testing.assert_array_equal(got.ravel(), (op.full(table, pre, post) != 0).sum(axis=0))
    assert op.fits(table, pre, post)
    assert not op.fits(table, pre, (*post[:-1], post[-1] + 1))
