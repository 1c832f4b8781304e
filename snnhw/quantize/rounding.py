"""Real weights to integer weights: to the nearest, or so that the errors of a row make up for each other.

Source of the second: Frantar et al., GPTQ (arXiv 2210.17323): columns are rounded one after another, and the error of
each is spread over those not yet rounded such that the current on calibration data changes least.
"""

from __future__ import annotations

import numpy as np

from snnhw.network import Array
from snnhw.quantize.formats import Formats, round_weights
from snnhw.quantize.moments import Moments

DAMPING = 0.01
"""Of the mean variance, added to the covariance: inputs that never vary must not decide anything."""


def compensated(w: Array, moments: Moments, formats: Formats) -> Array:
    """Integer weights int32 of weights in weight units; the first axis is the rows. Zeros stay zeros."""
    rows = w.reshape(len(w), -1).astype(np.float64)
    spread = _spread(moments)
    if spread is None:
        return round_weights(w, 1.0, formats)
    order, upper = spread
    left, kept = rows[:, order].copy(), rows[:, order] != 0
    chosen = np.zeros(left.shape, np.int32)
    for i in range(left.shape[1]):
        chosen[:, i] = round_weights(left[:, i], 1.0, formats) * kept[:, i]
        error = (left[:, i] - chosen[:, i]) / upper[i, i]
        left[:, i + 1 :] -= np.outer(error, upper[i, i + 1 :])
    integers = np.empty_like(chosen)
    integers[:, order] = chosen
    return integers.reshape(w.shape)


def _spread(moments: Moments) -> tuple[Array, Array] | None:
    """Order of the columns (most varying first), and the Cholesky factor of the inverse covariance in that order."""
    covariance = moments.covariance
    if covariance.ndim == 1 or not covariance.diagonal().max(initial=0.0) > 0:
        return None
    order = np.argsort(-covariance.diagonal(), kind="stable")
    damped = covariance[np.ix_(order, order)] + np.eye(len(order)) * (DAMPING * covariance.diagonal().mean())
    return order, np.linalg.cholesky(np.linalg.inv(damped)).T
