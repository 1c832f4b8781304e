"""Products and maxima of spikes, from torch to integers: truth tables, sums, windows, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from snnhw.errors import SourceError
from snnhw.frontends.gates import MOST_GATES
from snnhw.frontends.source import Source
from snnhw.lowering.lower import lower
from snnhw.network import Array, Kind
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import IF
from tests.unit.lowering.runs import everywhere, of_spikes, picked

LOGIC: dict[str, tuple[int, Callable[..., Any], Callable[..., Any]]] = {
    "and": (2, lambda m, a, s: a * s, lambda a, s: a & s),
    "iand": (2, lambda m, a, s: s * (1 - a), lambda a, s: s & ~a),
    "iand, factors swapped": (2, lambda m, a, s: (1 - a) * s, lambda a, s: s & ~a),
    "iand, roles swapped": (2, lambda m, a, s: a * (1 - s), lambda a, s: a & ~s),
    "torch functions": (2, lambda m, a, s: torch.mul(s, torch.sub(1, a)), lambda a, s: s & ~a),
    "method": (2, lambda m, a, s: a.mul(s), lambda a, s: a & s),
    "square": (1, lambda m, a: a * a, lambda a: a),
    "cube": (1, lambda m, a: a * a * a, lambda a: a),
    "and of three": (3, lambda m, a, b, c: a * b * c, lambda a, b, c: a & b & c),
    "gates into gates": (3, lambda m, a, b, c: (a * b) * (1 - c * a), lambda a, b, c: (a & b) & ~(c & a)),
    "same product four times": (
        3,
        lambda m, a, b, c: ((a * b) * (b * c)) * ((c * a) * (a * b)),
        lambda a, b, c: a & b & c,
    ),
    "iand three times": (3, lambda m, a, b, c: (a * (1 - b)) * (1 - (c * (1 - a))), lambda a, b, c: a & ~b),
    "over a sum": (3, lambda m, a, b, c: a * (b + c), lambda a, b, c: a * (b + 0 + c)),
    "sums distribute": (4, lambda m, a, b, c, d: (a + b) * (c + d), lambda a, b, c, d: (a + 0 + b) * (c + 0 + d)),
    "square of a sum": (2, lambda m, a, b: (a + b) * (a + b), lambda a, b: (a + 0 + b) ** 2),
    "doubled factor": (2, lambda m, a, b: a * (b + b), lambda a, b: a * 2 * b),
    "iand of a sum": (3, lambda m, a, b, c: (a + b) * (1 - c), lambda a, b, c: (a + 0 + b) * (1 - c)),
    "what cancels in a sum": (2, lambda m, a, b: (a + b) * (1 - a), lambda a, b: b & ~a),
}


def table(inputs: int) -> Array:
    """All combinations of bits, one a step: (1, 2**inputs, inputs, 1, 1)."""
    return np.array(list(product([0, 1], repeat=inputs)), float).reshape(1, -1, inputs, 1, 1)


@pytest.mark.parametrize("name", LOGIC)
def test_truth_table_on_both_targets(name: str) -> None:
    inputs, flow, logic = LOGIC[name]
    x = table(inputs)
    found = everywhere(picked(inputs, flow), x)
    bits = np.moveaxis(x[0, :, :, 0, 0].astype(np.int64), 1, 0)
    want = logic(*bits)
    np.testing.assert_array_equal(found.ravel(), want)
    assert 0 < np.count_nonzero(want) < want.size


def gates(source: Source) -> list[str]:
    return [
        p.name for p in lower(source.graph, source.semantics, source.deployment, 63).populations if p.kind is Kind.GATE
    ]


def named(inputs: int, flow: Callable[..., Any], **layers: nn.Module) -> list[str]:
    return gates(of_spikes(picked(inputs, flow, **layers), table(inputs)))


def test_gates_are_named_after_what_they_do() -> None:
    assert named(2, lambda m, a, s: a * s) == ["and"]
    assert sorted(named(3, lambda m, a, b, c: a * (b + c))) == ["and.0", "and.1"]
    assert named(2, lambda m, a, s: (a * a) + (s * s)) == []
    assert sorted(named(3, lambda m, a, b, c: a * b + b * c + c * a)) == ["and", "and.2", "and.3"]


def pooled(summands: int, pool: nn.Module) -> nn.Module:
    def flow(m: Any, *spikes: Any) -> Any:
        total = spikes[0]
        for s in spikes[1:]:
            total = total + s
        return m.pool(total)

    return picked(summands, flow, pool=PerStep(pool))


def bits(seed: int, *shape: int, rate: float = 0.3) -> Array:
    return (np.random.default_rng(seed).random(shape) < rate).astype(float)


@hypothesis.settings(max_examples=10)
@hypothesis.given(
    seed=st.integers(0, 1 << 16),
    summands=st.integers(1, 8),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.one_of(st.none(), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    pad=st.booleans(),
    rate=st.sampled_from([0.1, 0.3, 0.6]),
)
def test_max_pool_of_a_sum_is_torchs(
    seed: int, summands: int, kernel: tuple[int, int], stride: Any, pad: bool, rate: float
) -> None:
    padding = (kernel[0] // 2, kernel[1] // 2) if pad else (0, 0)
    layer = nn.MaxPool2d(kernel, stride, padding)
    x = bits(seed, 2, 2, summands, 5, 6, rate=rate)
    found = everywhere(pooled(summands, layer), x)
    np.testing.assert_array_equal(found[:, :, 0], layer(torch.from_numpy(x.sum(axis=2))).numpy())


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((1, 2), (2, 1)), nn.MaxPool2d(2, ceil_mode=True)],
    ids=str,
)
def test_max_pool_of_spikes_is_one_gate(pool: nn.MaxPool2d) -> None:
    """ceil_mode is fine where the windows fit."""
    x = bits(3, 2, 3, 1, 6, 4)
    found = everywhere(pooled(1, pool), x)
    np.testing.assert_array_equal(found[:, :, 0], pool(torch.from_numpy(x[:, :, 0])).numpy())
    assert gates(of_spikes(pooled(1, pool), x)) == ["pool.0"]


def test_max_pools_of_pooled_sums() -> None:
    """A sum of two gates under a further maximum, and in a convolution behind it."""

    def flow(m: Any, a: Any, b: Any, c: Any) -> Any:
        pooled = m.first(a + b)
        return m.out(m.second(pooled + m.first2(c)))

    layers = {
        "first": PerStep(nn.MaxPool2d(2)),
        "first2": PerStep(nn.MaxPool2d(2)),
        "second": PerStep(nn.MaxPool2d(2, 1)),
    }
    out = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.ones_(out.weight)
    x = bits(5, 3, 3, 3, 6, 6, rate=0.06)
    found = everywhere(picked(3, flow, **layers, out=PerStep(out)), x)
    halves = [nn.MaxPool2d(2)(torch.from_numpy(part)) for part in (x[:, :, 0] + x[:, :, 1], x[:, :, 2])]
    np.testing.assert_array_equal(found[:, :, 0], nn.MaxPool2d(2, 1)(halves[0] + halves[1]).numpy())
    assert set(np.unique(found)) >= {0, 1, 2}


def test_max_pool_of_a_product_and_product_of_max_pools() -> None:
    layers = {name: PerStep(nn.MaxPool2d(2)) for name in ("one", "two", "three")}
    x = bits(6, 3, 3, 2, 4, 4, rate=0.5)
    found = everywhere(picked(2, lambda m, a, b: m.one(a * b) + m.two(a) * (1 - m.three(b)), **layers), x)
    a, b = (torch.from_numpy(x[:, :, k]) for k in (0, 1))
    pool = nn.MaxPool2d(2)
    np.testing.assert_array_equal(found[:, :, 0], (pool(a * b) + pool(a) * (1 - pool(b))).numpy())


REFUSED: list[tuple[str, int, Callable[..., Any], dict[str, nn.Module], str]] = [
    (
        "currents",
        2,
        lambda m, a, s: m.c(a) * s,
        {"c": PerStep(nn.Conv2d(1, 1, 1))},
        "not-spikes: a product of values that are not spikes is not supported\n"
        "  where: forward: mul: c.0\n"
        "  needed: Conv2d\n"
        "  limit: spikes of neurons, and sums of them\n"
        "  hint: put the neuron before it, or use average pooling",
    ),
    (
        "inverted currents",
        2,
        lambda m, a, s: s * (1 - m.c(a)),
        {"c": PerStep(nn.Conv2d(1, 1, 1))},
        "not-spikes: a product of values that are not spikes is not supported\n  where: forward: mul: c.0\n",
    ),
    (
        "two inversions",
        2,
        lambda m, a, s: (1 - a) * (1 - s),
        {},
        "product: a product in forward cannot become gates\n"
        "  where: iand\n"
        "  needed: (1 - a) * (1 - b)\n"
        "  limit: one factor of spikes, s * (1 - a)\n"
        "  hint: write it as a product of s",
    ),
    (
        "inverted sum",
        3,
        lambda m, a, b, s: s * (1 - (a + b)),
        {},
        "product: a product in forward cannot become gates\n"
        "  where: iand\n"
        "  needed: s * (1 - a) where a is a sum of 2\n"
        "  limit: a of one spike train\n"
        "  hint: use AND or ADD",
    ),
    (
        "always nothing",
        1,
        lambda m, a: a * (1 - a),
        {},
        "product: a product in forward cannot become gates\n"
        "  where: iand\n"
        "  needed: s * (1 - s)\n"
        "  limit: two different spike trains\n"
        "  hint: this product is always 0",
    ),
    (
        "broadcasting",
        2,
        lambda m, a, s: a * m.n(m.p(s)),
        {"p": PerStep(nn.AvgPool2d(4)), "n": IF()},
        "product: a product in forward cannot become gates\n"
        "  where: and\n"
        "  needed: shapes (1, 4, 4) and (1, 1, 1)\n"
        "  limit: equal shapes\n"
        "  hint: make both the same shape",
    ),
    (
        "too many gates",
        17,
        lambda m, *s: sum(s[1:], s[0]) * sum(s[1:], s[0]),
        {},
        "product: a product in forward cannot become gates\n"
        "  where: and\n"
        f"  needed: 289 gates\n  limit: at most {MOST_GATES} gates\n"
        "  hint: put a neuron behind long sums",
    ),
    (
        "inversion as a value",
        1,
        lambda m, a: m.n(1 - a),
        {"n": IF()},
        "no-value: 1 - a is used other than as a factor of spikes\n  where: n\n  limit: what layers give\n",
    ),
    (
        "inversion of an inversion",
        1,
        lambda m, a: a * (1 - (1 - a)),
        {},
        "no-value: 1 - a is used other than as a factor of spikes\n",
    ),
    (
        "inversion in a sum",
        2,
        lambda m, a, s: s + (1 - a),
        {},
        "no-value: 1 - a is used other than as a factor of spikes",
    ),
    ("2 - a", 2, lambda m, a, s: s * (2 - a), {}, "not-spikes: a product of values that are not spikes"),
    ("a - 1", 2, lambda m, a, s: s * (a - 1), {}, "not-spikes: a product of values that are not spikes"),
    (
        "alpha",
        2,
        lambda m, a, s: s * torch.sub(1, a, alpha=2),
        {},
        "unknown-operation: the operation sub in forward is not supported\n  where: forward: sub\n",
    ),
    (
        "dilation",
        1,
        lambda m, a: m.p(a),
        {"p": PerStep(nn.MaxPool2d(2, dilation=2))},
        "unsupported-option: a max-pool of spikes has dilation, or ceil_mode that adds windows which do not fit\n"
        "  where: p.0\n"
        "  hint: use dilation=1 and ceil_mode=False",
    ),
    (
        "ceil mode",
        1,
        lambda m, a: m.p(a),
        {"p": PerStep(nn.MaxPool2d(3, ceil_mode=True))},
        "unsupported-option: a max-pool of spikes has dilation, or ceil_mode that adds windows which do not fit\n"
        "  where: p.0\n"
        "  hint: use dilation=1 and ceil_mode=False",
    ),
    (
        "indices",
        1,
        lambda m, a: torch.stack([nn.functional.max_pool2d(step, 2, return_indices=True)[0] for step in a]),
        {},
        "unsupported-option: return_indices of a max-pool is not supported\n"
        "  where: forward: max_pool2d_with_indices\n"
        "  hint: leave it out",
    ),
    (
        "outside PerStep",
        1,
        lambda m, a: m.p(a),
        {"p": nn.MaxPool3d(1)},
        "unknown-operation: the operation max_pool3d in forward is not supported\n  where: p: max_pool3d\n",
    ),
]


@pytest.mark.parametrize(("inputs", "flow", "layers", "text"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_refused(inputs: int, flow: Callable[..., Any], layers: dict[str, nn.Module], text: str) -> None:
    with pytest.raises(SourceError) as caught:
        of_spikes(picked(inputs, flow, **layers), np.zeros((1, 2, inputs, 4, 4)))
    assert str(caught.value).startswith(text)


def test_the_input_is_not_spikes() -> None:
    """Analog pixels could stand there."""
    with pytest.raises(SourceError, match=r"not-spikes: a product of values that are not spikes(.|\n)*needed: Input"):
        of_spikes(nn.Sequential(Squared()), np.zeros((1, 2, 1, 2, 2)))


class Squared(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x
