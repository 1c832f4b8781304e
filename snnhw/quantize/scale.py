"""Weight scales: how many integer units one real unit of a population is.

One scale serves all projections into a population, so that currents add as they did in reals. Where thresholds may
differ between neurons each channel gets its own; elsewhere there is one. A scale is moved to where the threshold is a
whole number of weight units: the rounded threshold, not the rounded weights, is what makes firing rates drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnhw.evaluate import current, current_into, fire
from snnhw.linear import scale_rows
from snnhw.network import (
    Array,
    Conv,
    Dense,
    FloatNeuron,
    Inject,
    Kind,
    LinearOp,
    Network,
    Population,
    Shape,
    Sparse,
)
from snnhw.quantize.formats import Formats, round_weights

SHARED_FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
CHANNEL_FACTORS = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
"""Candidates around the scale at which the largest weight just fits; above 1 outliers are clipped."""

WHOLE_THRESHOLD = 16
"""Thresholds below this many weight units are left where they are: moving them would cost too much resolution."""


@dataclass(frozen=True)
class Scale:
    """A chosen scale with its reason.

    Args:
        value: one number, (C, 1, 1), or the population's shape.
        why: one line for `explain`.
    """

    value: Array
    why: str


def parts(network: Network[FloatNeuron], op: LinearOp) -> dict[str, Array]:
    """Arrays of an operator under the keys '', '/indices', '/indptr'."""
    assert not isinstance(op, Inject)
    return {
        part: network.weights[op.weight + part]
        for part in ("", "/indices", "/indptr")
        if op.weight + part in network.weights
    }


def row_largest(op: LinearOp, arrays: Mapping[str, Array], post_shape: Shape) -> Array:
    """Largest |weight| into each post neuron, as compact as the operator allows."""
    w = np.abs(arrays[""])
    match op:
        case Conv():
            return np.asarray(w.max(axis=(1, 2, 3)).reshape(-1, 1, 1))
        case Dense():
            return np.asarray(w.max(axis=1).reshape(post_shape))
        case Sparse():
            rows = np.repeat(np.arange(len(arrays["/indptr"]) - 1), np.diff(arrays["/indptr"]))
            largest = np.zeros(len(arrays["/indptr"]) - 1)
            np.maximum.at(largest, rows, w)
            return largest.reshape(post_shape)
        case _:
            return w


def largest_weights(network: Network[FloatNeuron], population: Population[FloatNeuron], shared: bool) -> Array:
    """Largest |weight| per channel (or neuron) over all synaptic projections, payload scales included."""
    projections = [p for p in network.into(population.name) if not isinstance(p.op, Inject)]
    largest = np.zeros(())
    for projection in projections:
        rows = row_largest(projection.op, parts(network, projection.op), population.shape)
        largest = np.maximum(largest, rows * network[projection.pre].payload_scale)
    if shared:
        return np.asarray(largest.max())
    if largest.ndim == 3 and any(isinstance(p.op, Conv) for p in projections):
        return np.asarray(largest.max(axis=(1, 2), keepdims=True))
    return largest


def whole_threshold(scale: Array, threshold: Array, unit: int) -> Array:
    """The nearest scale below at which threshold * scale is a multiple of `unit`, where that costs little."""
    try:
        if np.broadcast_shapes(scale.shape, threshold.shape) != scale.shape:
            return scale
    except ValueError:
        return scale
    units = np.floor(scale * threshold / unit) * unit
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(units >= WHOLE_THRESHOLD, units / threshold, scale)
    return np.asarray(moved, np.float64)


def base_scale(largest: Array, population: Population[FloatNeuron], formats: Formats) -> Array:
    """Scale at which the largest weight just fits; silent channels (all-zero weights) borrow the others' scale."""
    neuron = population.model
    some = largest[largest > 0]
    if some.size == 0:
        level = max(float(np.abs(neuron.threshold).max()), float(np.abs(neuron.bias).max()), 1e-30)
        return np.full(largest.shape, formats.largest / level)
    with np.errstate(divide="ignore"):
        fitting = np.where(largest > 0, formats.largest / largest, formats.largest / some.max())
    # threshold and bias must stay far inside 24 bit even before the shift
    level = max(float(np.abs(neuron.threshold).max()), float(np.abs(neuron.bias).max()), 1e-30)
    return np.asarray(np.minimum(fitting, (1 << 20) / level))


@dataclass(frozen=True)
class Trial:
    """Float activity of the calibration samples around one population."""

    network: Network[FloatNeuron]
    values: Mapping[str, Array]
    population: Population[FloatNeuron]

    def mismatch(self, scale: Array, formats: Formats) -> float:
        """Share of spikes that change, given the float network's spikes in front of the population."""
        neuron = self.population.model
        rounded = {}
        for projection in self.network.into(self.population.name):
            if isinstance(projection.op, Inject) or projection.op.weight in rounded:
                continue
            arrays = parts(self.network, projection.op)
            payload = self.network[projection.pre].payload_scale
            up = scale_rows(projection.op, arrays, scale * payload, self.population.shape, projection.name)
            q = {**up, "": round_weights(up[""], 1.0, formats).astype(np.float64)}
            back = scale_rows(projection.op, q, 1.0 / (scale * payload), self.population.shape, projection.name)
            rounded |= {projection.op.weight + part: array for part, array in back.items()}
        net = self.network.with_weights({**self.network.weights, **rounded})
        driven = current(neuron, current_into(net, self.population, self.values)) + neuron.bias
        have, want = fire(neuron, driven), self.values[self.population.name]
        changed = float(np.abs(have - want).sum())
        drift = float(abs(have.sum() - want.sum()))
        return (changed + drift) / max(float(want.sum()), 1.0)


def choose(
    largest: Array, population: Population[FloatNeuron], formats: Formats, trial: Trial | None, limit: float
) -> Scale:
    """The scale of a population: the best of a few candidates on calibration data, else the largest that clips nothing.

    Args:
        limit: no scale above this (host-computed currents and biases must fit their format).
    """
    neuron = population.model
    base = np.minimum(base_scale(largest, population, formats), limit)
    spiking = population.kind is Kind.NEURON

    def candidate(factor: float) -> Array:
        value = np.minimum(base * factor, limit)
        return whole_threshold(value, neuron.threshold, 1) if spiking else value

    if trial is None or not spiking:
        return Scale(
            candidate(1.0),
            "largest scale at which no weight is clipped and the threshold is a whole number of weight units",
        )
    factors = CHANNEL_FACTORS if formats.per_neuron_threshold else SHARED_FACTORS
    tried = {factor: trial.mismatch(candidate(factor), formats) for factor in factors}
    best = min(tried, key=lambda factor: (tried[factor], abs(factor - 1.0)))
    kept = f"clips outliers above 1/{best:g} of the largest weight" if best > 1 else "clips nothing"
    return Scale(
        candidate(best),
        f"factor {best:g} of the largest unclipped scale ({kept}): fewest changed spikes on calibration data "
        f"({tried[best]:.4f} of the float spikes; {tried[1.0]:.4f} at factor 1)",
    )
