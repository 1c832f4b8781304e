"""Parameters that files hold with rounding errors as the decimals that were meant, and one number for many."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from snnhw.errors import SourceError
from snnhw.neurons.base import Level
from snnhw.operators.base import Array

ULPS = 8
"""Rounding errors that division by dt and multiplication with it again can leave, in units of the last place."""


def decimal(x: Array) -> Array:
    """Numbers up to 1 that are decimals of 13 digits but for rounding errors as those decimals (1 - 0.8 is 0.2)."""
    return _repaired(x, 1.0, lambda value: [float(f"{value:.13g}")])


def tidy(x: Array) -> Array:
    """The same for factors, and for those that are fractions (1e-4 / 3e-4 is 1/3); other numbers stay as they are."""
    return _repaired(x, 0.0, lambda value: [float(f"{value:.13g}"), float(Fraction(value).limit_denominator(1000))])


def _repaired(x: Array, size: float, candidates: Callable[[float], list[float]]) -> Array:
    values, where = np.unique(np.asarray(x, np.float64), return_inverse=True)
    if not np.isfinite(values).all():
        raise SourceError(
            "bad-parameter",
            "dt and the parameters of a neuron give numbers that are not finite",
            needed=", ".join(f"{value:g}" for value in values[~np.isfinite(values)][:2]),
            limit="finite gains and decays",
            hint="check dt, tau, r and w_in",
        )
    slack = [ULPS * np.finfo(np.float64).eps * max(abs(value), size) for value in values]
    near = [
        next((c for c in candidates(value) if abs(c - value) <= most), value)
        for value, most in zip(values.tolist(), slack, strict=True)
    ]
    return np.array(near)[where].reshape(np.shape(x))


def squeeze(x: Array) -> Array:
    """An array that is one number everywhere, as that number."""
    x = np.asarray(x, np.float64)
    return np.asarray(x.ravel()[0]) if x.size and (x == x.ravel()[0]).all() else x


def level(x: Array) -> Level:
    """A parameter as one number where it is the same for all neurons."""
    one = squeeze(x)
    return one if one.ndim else float(one)
