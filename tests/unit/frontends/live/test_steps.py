"""Sums over time, steps that are stored one by one, and how far back a step may reach: read exactly, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.frontends.check import FORWARD_ERRORS
from snnhw.frontends.live.load import FEW
from snnhw.frontends.live.reader import same_node
from snnhw.frontends.live_module import load_module
from tests.unit.frontends.live.stand_in import Cellule, only_stand_in
from tests.unit.frontends.live.test_load import N, Net, T, edges, same

Forward = Callable[[Any, Tensor], Any]


@pytest.fixture(autouse=True)
def _framework() -> Iterator[None]:
    torch.manual_seed(0)
    with only_stand_in():
        yield


def refused(net: nn.Module, example: Any, **options: Any) -> SnnhwError:
    with pytest.raises(SnnhwError) as caught:
        load_module(net, example, **options)
    return caught.value


def both(forward: Forward) -> Net:
    return Net(forward, a=nn.Linear(4, 6), n=Cellule("m"), b=nn.Linear(4, 6), n2=Cellule("m"))


def run(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    return m.n(m.a(x)), m.n2(m.b(x))


def counted(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of both layers, added up in a loop."""
    v = w = None
    first, second = torch.zeros(N, 6), torch.zeros(N, 6)
    for now in x:
        z, v = m.n(m.a(now), v)
        first = first + z
        z, w = m.n2(m.b(now), w)
        second = second + z
    return first, second


def loops(forward: Forward) -> Net:
    return Net(forward, a=nn.Linear(4, 6), n=Cellule("h"), b=nn.Linear(4, 6), n2=Cellule("h"))


def scaled(factor: float, a: Tensor, b: Tensor) -> Tensor:
    return (a.sum(0) if a.dim() == 3 else a) * factor


def pair(of: Callable[[Any, Tensor], tuple[Tensor, Tensor]], then: Callable[[Tensor, Tensor], Tensor]) -> Forward:
    return lambda m, x: then(*of(m, x))


@pytest.mark.parametrize(
    "net",
    [
        both(pair(run, lambda a, b: a.sum(0) * 0.1 + b.sum(0) * 0.1)),
        both(pair(run, lambda a, b: (a.sum(0) + b.sum(0)) / T)),
        loops(pair(counted, lambda a, b: a * 0.1 + b * 0.1)),
        loops(pair(counted, lambda a, b: (a + b) / T * 2)),
    ],
)
def test_sums_over_time_share_one_factor(net: Net) -> None:
    assert edges(same(net, torch.rand(T, N, 4))) >= {("n", "output"), ("n2", "output")}


def test_sums_over_time_with_different_factors() -> None:
    error = refused(both(pair(run, lambda a, b: a.sum(0) * 0.1 + b.sum(0) * 5)), torch.rand(T, N, 4))
    assert (error.code, error.where) == ("time-axis", "forward: add")
    assert "sums over time with different factors are added" in error.message
    error = refused(loops(pair(counted, lambda a, b: a / 8 + b / 2)), torch.rand(T, N, 4))
    assert (error.code, error.where) == ("not-all-steps", "div, div.2")
    assert refused(loops(pair(counted, lambda a, b: a / 8 + b)), torch.rand(T, N, 4)).code == "not-all-steps"
    for factor in (-1.0, float("nan"), 0.0):
        assert refused(both(pair(run, partial(scaled, factor))), torch.rand(T, N, 4)).code == "time-axis"
        assert refused(loops(pair(counted, partial(scaled, factor))), torch.rand(T, N, 4)).code == "not-all-steps"
    error = refused(both(pair(run, lambda a, b: a.sum(0) * b.sum(0))), torch.rand(T, N, 4))
    assert error.code == "time-axis"
    assert "sums over time are multiplied or pooled" in error.message


def test_a_filter_over_all_recorded_steps_is_scaled_at_each_of_them() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        v, past, out = None, torch.zeros(N, 6), []
        for now in x:
            past = past + m.a(now)
            z, v = m.n(past * 0.25, v)
            out.append(z)
        return torch.stack(out)

    source = same(Net(forward, a=nn.Linear(4, 6), n=Cellule("h")), torch.rand(3, N, 4))
    assert any(np.allclose(getattr(node, "scale", 0), 0.25) for node in source.graph.nodes.values())


def stored(m: Any, x: Tensor, out: Tensor, axis: int = 0) -> Tensor:
    v = None
    for t, now in enumerate(x):
        z, v = m.n(m.a(now), v)
        out[(slice(None),) * axis + (t,) if axis else t] = z
    return out


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: stored(m, x, torch.zeros(T, N, 6)),
        lambda m, x: stored(m, x, torch.empty(T, N, 6)),
        lambda m, x: stored(m, x, x.new_empty(N, T, 6), 1),
        lambda m, x: stored(m, x, torch.empty(T, N, 6).zero_()),
        lambda m, x: stored(m, x + torch.empty(4).fill_(0.5), torch.zeros(T, N, 6)),
    ],
)
def test_steps_are_stored_into_new_tensors(forward: Forward) -> None:
    same(Net(forward, a=nn.Linear(4, 6), n=Cellule("h")), torch.rand(T, N, 4))


def first_cut(m: Any, x: Tensor) -> Tensor:
    out = m.n(m.a(x)).clone()
    out[0] = torch.zeros(6)
    return out  # type: ignore[no-any-return]


def first_step_cut(m: Any, x: Tensor) -> Tensor:
    out = m.n(m.a(x)).clone()
    out[0] = torch.zeros(N, 6)
    return out  # type: ignore[no-any-return]


def one_step(m: Any, x: Tensor) -> Tensor:
    first, second = run(m, x)
    out = torch.zeros_like(first)
    out[3] = second[3]
    return first + out


def sample_cut(m: Any, x: Tensor) -> Tensor:
    out = m.n(m.a(x)).sum(0)
    out[0] = torch.zeros(6)
    return out  # type: ignore[no-any-return]


def into_ones(m: Any, x: Tensor) -> Tensor:
    out = torch.ones(T, N, 6)
    out[0] = m.n(m.a(x))[0]
    return m.n2(m.b(x)) + out  # type: ignore[no-any-return]


def both_axes(m: Any, x: Tensor) -> Tensor:
    first, out = m.n(m.a(x)), torch.zeros(T, N, 6)
    out[0] = first[0]
    out[:, 0] = torch.zeros(T, 6)
    return out


def stored_again(m: Any, x: Tensor) -> Tensor:
    first, out = m.n(m.a(x)), torch.zeros(T, N, 6)
    for t in range(T):
        out[t] = first[t]
    out[0] = torch.zeros(N, 6)
    return out


STORES: dict[Forward, tuple[str, str]] = {
    first_cut: ("not-all-steps", "something is stored into a tensor that is not new, or is not one of its steps"),
    first_step_cut: ("not-all-steps", "something is stored into a tensor that is not new"),
    one_step: ("no-value", "a tensor is used before all of its steps were stored"),
    sample_cut: ("not-all-steps", "something is stored into a tensor that is not new"),
    into_ones: ("not-all-steps", "something is stored into a tensor that is not new"),
    both_axes: ("not-all-steps", "something is stored into a tensor that is not new"),
    stored_again: ("not-all-steps", "something is stored into a tensor that is not new"),
}


@pytest.mark.parametrize("forward", STORES, ids=lambda f: f.__name__)
def test_stores_that_would_be_lost(forward: Forward) -> None:
    code, text = STORES[forward]
    error = refused(both(forward), torch.rand(T, N, 4))
    assert error.code == code, error
    assert text in error.message


class Growing(nn.Module):
    """Adds what it read to all it read before: never forgotten, or for `keep` steps."""

    def __init__(self, keep: int | None = None) -> None:
        super().__init__()
        self.fc, self.n = nn.Linear(4, 6), Cellule("s")
        nn.init.normal_(self.fc.weight, 0.2, 0.5)
        self.keep, self.past = keep, []  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        self.past.append(self.fc(x))
        if self.keep is not None:
            self.past = self.past[-self.keep :]
        total = self.past[-1]
        for before in self.past[:-1]:
            total = total + before
        return self.n(total)  # type: ignore[no-any-return]


def test_what_grows_with_every_step_is_no_filter() -> None:
    error = refused(Growing(), torch.rand(2 * FEW, N, 4))
    assert (error.code, error.where) == ("steps-differ", "n")
    assert error.needed == f"it reads values of {FEW - 1} steps before"
    assert error.limit == f"values of at most {FEW - 2} steps before"
    same(Growing(3), torch.rand(2 * FEW, N, 4))


@pytest.mark.parametrize(
    ("example", "code", "text"),
    [
        ("abc", "bad-data", "the example input is no array of numbers"),
        ([torch.rand(N, 4), torch.rand(N, 4)], "bad-data", "the example input is no array of numbers"),
        (torch.rand(T, N, 4).to(torch.complex64), "bad-data", "the example input holds complex numbers or values that"),
        (torch.full((T, N, 4), float("nan")), "bad-data", "holds complex numbers or values that are not finite"),
        (np.full((T, N, 4), np.inf), "bad-data", "holds complex numbers or values that are not finite"),
        (torch.rand(T, N, 4)[:0], "bad-shape", "the example input holds no samples"),
        (1.0, "bad-shape", "the example input holds no samples"),
    ],
)
def test_examples_that_are_none(example: Any, code: str, text: str) -> None:
    error = refused(nn.Sequential(nn.Linear(4, 6), Cellule("m")), example)
    assert (error.code, error.where) == (code, "example_input")
    assert text in error.message


def test_an_example_of_bools() -> None:
    net = nn.Sequential(nn.Linear(4, 6), Cellule("m"))
    assert load_module(net, torch.rand(T, N, 4) < 0.5).deployment.encoding == "spikes"


def test_an_assertion_of_forward_is_told() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        assert x.shape[0] == 2, "two steps, please"
        return m.n(m.a(x))  # type: ignore[no-any-return]

    assert AssertionError in FORWARD_ERRORS
    error = refused(Net(forward, a=nn.Linear(4, 6), n=Cellule("m")), torch.rand(T, N, 4))
    assert error.code == "bad-shape"
    assert "the module does not take the example input: two steps, please" in error.message


def test_nan_in_a_weight_is_named() -> None:
    layer = nn.Linear(4, 6)
    net = nn.Sequential(layer, Cellule("s"))
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    error = refused(net, torch.rand(T, N, 4))
    assert (error.code, error.where) == ("not-finite", "0.weight[0, 0]")
    nan, text = nir.Scale(np.array([np.nan, 1.0])), nir.Conv1d(4, np.ones((1, 1, 2)), 1, "same", 1, 1, np.zeros(1))
    assert same_node(nan, nir.Scale(np.array([np.nan, 1.0])))
    assert not same_node(nan, nir.Scale(np.array([np.nan, 2.0])))
    assert same_node(text, text)


@pytest.mark.parametrize(
    "forward", [lambda m, x: m.n(torch.cat([x, x], -1)), lambda m, x: m.n(x + torch.linspace(1, 2, x.shape[-1]))]
)
def test_many_flat_features(forward: Forward) -> None:
    error = refused(Net(forward, n=Cellule("m")), torch.rand(2, 1, 12000))
    assert error.code == "too-big"
    assert "flat features are joined or shifted one by one, which takes a matrix that is too large" in error.message
