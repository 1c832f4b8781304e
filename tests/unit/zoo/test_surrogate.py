"""Surrogate derivatives against the formulas of the papers, written out in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.zoo.surrogate import SURROGATES, Atan, resolve

GRID = [-2.0, -0.75, -0.5, -0.49, -0.1, 0.0, 0.1, 0.3, 0.49, 0.5, 0.75, 2.0, 3.0]


def rectangular(x: float) -> float:
    return 1.0 if abs(x) < 0.5 else 0.0


def polynomial(x: float, a: float = 1.0) -> float:
    return math.sqrt(a) / 2 - a / 4 * abs(x) if abs(x) < 2 / math.sqrt(a) else 0.0


def sigmoid(x: float, a: float = 0.25) -> float:
    e = math.exp(x / a)
    return e / (1 + e) ** 2 / a


def gaussian(x: float, a: float = 0.25) -> float:
    return 1 / math.sqrt(2 * math.pi * a) * math.exp(-x * x / (2 * a))


def atan(x: float, alpha: float = 2.0) -> float:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


def dspike(x: float, b: float = 3.0) -> float:
    return b / (2 * math.tanh(b / 2)) / math.cosh(b * x) ** 2 if abs(x) <= 0.5 else 0.0


FORMULAS = {f.__name__: f for f in (rectangular, polynomial, sigmoid, gaussian, atan, dspike)}


def test_every_surrogate_has_its_formula_here() -> None:
    assert FORMULAS.keys() == SURROGATES.keys()


@pytest.mark.parametrize("name", sorted(FORMULAS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative_is_the_formula(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor(GRID, dtype=dtype)
    before = x.clone()
    found = resolve(name)(x)
    assert found.dtype == dtype
    assert torch.equal(x, before)
    torch.testing.assert_close(found, torch.tensor([FORMULAS[name](v) for v in GRID], dtype=dtype))


@pytest.mark.parametrize("name", ["sigmoid", "gaussian", "atan", "dspike", "rectangular", "polynomial"])
def test_area_is_one(name: str) -> None:
    x = torch.linspace(-200, 200, 4_000_001, dtype=torch.float64)
    assert float(resolve(name)(x).sum() * 1e-4) == pytest.approx(1.0, abs=2e-3)


def test_a_callable_is_taken_as_it_is() -> None:
    wide = Atan(alpha=4.0)
    assert resolve(wide) is wide
    assert wide == Atan(alpha=4.0)


def test_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(SnnhwError) as caught:
        resolve("arctan")
    assert str(caught.value) == (
        "unknown-surrogate: no surrogate gradient of that name\n"
        "  where: surrogate=\n"
        "  needed: 'arctan'\n"
        "  limit: one of atan, dspike, gaussian, polynomial, rectangular, sigmoid\n"
        "  hint: pass one of these names, or a callable from snnhw.zoo.surrogate such as Atan(alpha=4.0)"
    )
