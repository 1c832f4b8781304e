"""What an operator reads on calibration data: mean and covariance of its inputs, and what rounding errors do to them.

The error that counts is that of the summed current, not that of single weights. Its mean goes into the bias; its
variance is d C d' for a row of weight errors d and the covariance C of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.evaluate import late
from snnhw.limits import FLOAT32_EXACT
from snnhw.network import Array, Network, Population
from snnhw.operators import Operator

ROWS = 16384
"""Inputs (patches of a convolution) that moments are taken over; more change little."""

COLUMNS = 2048
"""Operators that read more values than this per neuron get variances only."""


@dataclass(frozen=True)
class Moments:
    """Of the values one neuron's row of weights meets, in payload units.

    Args:
        mean: (columns,).
        covariance: (columns, columns), or (columns,), the variances, where there are too many.
    """

    mean: Array
    covariance: Array

    def variance(self, errors: Array) -> Array:
        """Variance of the current that weight errors (rows, columns) cause, (rows,)."""
        if self.covariance.ndim == 1:
            return np.asarray((errors * errors) @ self.covariance)
        return np.asarray(((errors @ self.covariance) * errors).sum(axis=1))


def moments_into(
    network: Network[Any], population: Population[Any], values: Mapping[str, Array]
) -> dict[Operator, Moments]:
    """Moments of every operator into a population whose rows read alike; summands that share weights are added.

    Args:
        values: real activity (B, T, *shape) of the populations in front.
    """
    summed: dict[Operator, Array] = {}
    for projection in network.into(population.name):
        op, pre = projection.op, network[projection.pre]
        if op.alike and projection.pre in values:
            units = np.rint(_once(late(values[pre.name], projection.lag)) / np.float32(pre.payload_scale))
            summed[op] = summed[op] + units if op in summed else units
    return {op: _moments(_patches(op, network.weights, x)) for op, x in summed.items()}


def _once(x: Array) -> Array:
    """A static input at one step only."""
    return x[:, :1] if x.shape[1] > 1 and x.strides[1] == 0 else x


def _patches(op: Operator, weights: Mapping[str, Array], x: Array) -> Array:
    """What single neurons read, (at most ROWS, columns): a fixed random choice."""
    rng = np.random.default_rng(0)

    def some(x: Array, most: int) -> Array:
        return x if len(x) <= most else x[rng.permutation(len(x))[:most]]

    return op.patches(weights, x.reshape(-1, *x.shape[2:]), ROWS, some)


def _moments(x: Array) -> Moments:
    """Sums of products are whole numbers, exact in either type: they do not depend on how the work is split."""
    largest = float(np.abs(x).max(initial=0.0))
    x = x.astype(np.float32 if largest * largest * len(x) < FLOAT32_EXACT else np.float64)
    mean = x.sum(axis=0, dtype=np.float64) / len(x)
    if x.shape[1] > COLUMNS:
        return Moments(mean, np.square(x).sum(axis=0, dtype=np.float64) / len(x) - mean * mean)
    return Moments(mean, (x.T @ x).astype(np.float64) / len(x) - np.outer(mean, mean))
