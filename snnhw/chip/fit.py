"""A robust fit of prices that are not negative to counts and what was measured; what the counts cannot tell stays.

measured_i = sum over k of count_ik * price_k, relative errors alike over the runs
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.stats import t as student

from snnhw.network import Array

HUBER = 1.345
"""Residuals in units of their spread beyond which a run counts for less: 95 % efficient where noise is normal."""

TOLD = 0.5
"""Half of a 95 % interval, as part of the price that is found or was known, up to which the data tell it."""

ROUNDS = 50


@dataclass(frozen=True)
class Fit:
    """Prices with their 95 % intervals.

    Args:
        told: whether the data tell each price; one that they do not keeps what was known before.
        low, high: ends of the interval; the price itself where it is not told.
        error: mean of |relative error| of runs that were left out of the fit one at a time.
    """

    price: Array
    told: Array
    low: Array
    high: Array
    error: float


def fitted(counts: Array, measured: Array, known: Array, unsure: Array) -> Fit:
    """The fit.

    Prices that the data cannot tell apart, or only widely, are set back one at a time to what is `known`, the worst
    told first (of equals the one with the least share); the others are fitted to the rest, and their intervals are
    wider by what a wrong `known` would move them.

    Args:
        counts: (runs, prices); measured: (runs,), above 0; known: prices of before, above or equal 0.
        unsure: how far each of `known` may be off.
    """
    rows = counts / measured[:, None]
    told: Array = np.asarray(rows.any(axis=0))
    share = (rows * known).sum(axis=0)
    while True:
        price, weight = _solved(rows, known, told)
        half = _half(rows, price, weight, told, unsure)
        doubt = half / np.maximum(np.maximum(price, known), 1e-300)
        if not doubt.max(initial=0.0) > TOLD:
            break
        told[np.where(told & (doubt == doubt.max()), share, np.inf).argmin()] = False
    errors = []
    for i in range(len(rows)):
        found, _ = _solved(np.delete(rows, i, axis=0), known, told)
        errors.append(abs(float(rows[i] @ found) - 1))
    return Fit(price, told, np.maximum(price - half, 0.0), price + half, float(np.mean(errors)))


def _solved(rows: Array, known: Array, told: Array) -> tuple[Array, Array]:
    """(prices, weights of the runs): those `told` make the rows (runs, prices) as near to 1 as they can."""
    price, weight = np.where(told, 0.0, known), np.ones(len(rows))
    if not told.any():
        return price, weight
    free, rest = rows[:, told], 1 - rows @ price
    scale = free.max(axis=0)
    scale[scale == 0] = 1.0
    for _ in range(ROUNDS):
        root = np.sqrt(weight)
        found, _ = nnls(free / scale * root[:, None], rest * root)
        residual = np.abs(rest - free / scale @ found)
        spread = 1.4826 * np.median(residual) + 1e-15
        before, weight = weight, np.minimum(1.0, HUBER * spread / np.maximum(residual, 1e-300))
        if np.abs(weight - before).max() < 1e-6:
            break
    price[told] = found / scale
    return price, weight


def _half(rows: Array, price: Array, weight: Array, told: Array, unsure: Array) -> Array:
    """Half of the 95 % intervals; infinite for prices that others can stand for, 0 for those that are not told."""
    half, free = np.zeros(len(price)), len(rows) - int(told.sum())
    if not told.any():
        return half
    if free < 1:
        return np.where(told, np.inf, 0.0)
    root = np.sqrt(weight)[:, None]
    scale = rows[:, told].max(axis=0)
    left, sizes, ways = np.linalg.svd(rows[:, told] / scale * root, full_matrices=False)
    lost = sizes < 1e-9 * sizes[0]
    variance = float(weight @ (1 - rows @ price) ** 2) / free
    inverse = ways[~lost].T / sizes[~lost]
    noise = student.ppf(0.975, free) * np.sqrt((inverse**2).sum(axis=1) * variance)
    moved = np.abs(inverse @ (left[:, ~lost].T @ ((rows * unsure)[:, ~told] * root))).sum(axis=1)
    blurred = (ways[lost] ** 2).sum(axis=0) > 1e-9
    half[told] = np.where(blurred, np.inf, (noise + moved) / scale)
    return half
