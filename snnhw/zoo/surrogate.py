"""Surrogate derivatives of the spike function.

Each surrogate is a small frozen callable: given ``x = v - v_threshold`` (any shape) it returns the stand-in
for ``d spike / d v`` at that distance (same shape). They act in training only; the forward spike never
depends on them. Sources: h1..h4 are Wu et al. 2018 (STBP); ATan is Fang et al. 2021 (SEW ResNet); Dspike is
Li et al. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from snnhw.errors import SnnhwError


@dataclass(frozen=True)
class Rectangular:
    """h1 of STBP as its published code has it: ``height`` where ``|x| < lens``, else 0."""

    lens: float = 0.5
    height: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        return (x.abs() < self.lens).to(x.dtype).mul_(self.height)


@dataclass(frozen=True)
class Polynomial:
    """h2 of STBP: ``sqrt(a)/2 - a/4 |x|`` where ``|x| < 2/sqrt(a)``, else 0."""

    a: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        return (math.sqrt(self.a) / 2 - self.a / 4 * x.abs()).clamp_(min=0.0)


@dataclass(frozen=True)
class Sigmoid:
    """h3 of STBP: ``(1/a) e^(x/a) / (1 + e^(x/a))^2``."""

    a: float = 0.25

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        s = torch.sigmoid(x / self.a)
        return s * (1 - s) / self.a


@dataclass(frozen=True)
class Gaussian:
    """h4 of STBP: normal density of variance ``a``."""

    a: float = 0.25

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        return torch.exp(-x.square() / (2 * self.a)) / math.sqrt(2 * math.pi * self.a)


@dataclass(frozen=True)
class Atan:
    """ATan of SpikingJelly: ``(alpha/2) / (1 + (pi/2 alpha x)^2)``."""

    alpha: float = 2.0

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        return (x * (math.pi / 2 * self.alpha)).square_().add_(1.0).reciprocal_().mul_(self.alpha / 2)


@dataclass(frozen=True)
class Dspike:
    """Derivative of Dspike: ``b / (2 tanh(b/2)) sech^2(b x)`` where ``|x| <= 1/2``, else 0."""

    b: float = 3.0

    def __call__(self, x: Tensor) -> Tensor:
        """Derivative at x, same shape and dtype."""
        slope = self.b / (2 * math.tanh(self.b / 2)) / torch.cosh(self.b * x.clamp(-0.5, 0.5)).square()
        return slope * (x.abs() <= 0.5).to(x.dtype)


Surrogate = Callable[[Tensor], Tensor]

SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "rectangular": Rectangular,
    "polynomial": Polynomial,
    "sigmoid": Sigmoid,
    "gaussian": Gaussian,
    "atan": Atan,
    "dspike": Dspike,
}


def resolve(surrogate: str | Surrogate) -> Surrogate:
    """The surrogate of that name with its defaults, or the callable itself."""
    if not isinstance(surrogate, str):
        return surrogate
    if surrogate not in SURROGATES:
        raise SnnhwError(
            "unknown-surrogate",
            "no surrogate gradient of that name",
            where="surrogate=",
            needed=repr(surrogate),
            limit="one of " + ", ".join(sorted(SURROGATES)),
            hint="pass one of these names, or a callable from snnhw.zoo.surrogate such as Atan(alpha=4.0)",
        )
    return SURROGATES[surrogate]()
