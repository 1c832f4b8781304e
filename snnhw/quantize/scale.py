"""Weight scales: how many integer units one real unit of a population is.

One scale serves all projections into a population, so that currents add as they did in reals. Where thresholds may
differ between neurons each channel gets its own; elsewhere there is one. A scale is moved to where the threshold is a
whole number of weight units: the rounded threshold, not the rounded weights, is what makes firing rates drift.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from snnhw.network import (
    Array,
    FloatNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Shape,
)
from snnhw.quantize.formats import Formats, round_weights
from snnhw.quantize.moments import Moments
from snnhw.rationale import Effect

FACTORS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 1.03, 1.06, 1.1, 1.15, 1.2, 1.3, 1.5, 1.75, 2.0)
"""Candidates around the scale at which the largest weight just fits; above 1 outliers are clipped. Ties go to 1."""

WORTH_A_UNIT = 4.0
"""Ratio of largest weights from which operators into the same neurons get units of their own."""

ALIKE = 1e-6
"""Reals that differ by less than this part are one: weights come from float32."""

WHOLE_THRESHOLD = 16
"""Thresholds below this many weight units are left where they are: moving them would cost too much resolution."""


@dataclass(frozen=True)
class Scale:
    """A chosen scale with its reason.

    Args:
        value: one number, (C, 1, 1), or the population's shape.
        text: one line for `explain`.
        kind: EXACT where whole numbers of spikes stay whole.
        kept: whether weights are whole at this scale because they were multiples of a step already; of its shape.
    """

    value: Array
    text: str
    kind: Effect = Effect.CHOSEN
    kept: Array | bool = False


def _rows(
    network: Network[FloatNeuron], population: Population[FloatNeuron], formats: Formats
) -> dict[LinearOp, Array]:
    """Largest weight into each post neuron by operator, in parts of the grid's larger end, payload scales included."""
    found: dict[LinearOp, Array] = {}
    for projection in network.into(population.name):
        if not projection.op.injects:
            weights, pre, post = network.between(projection)
            own = formats.of(projection.op)
            spans = {**weights, projection.op.weight: own.spans(weights[projection.op.weight])}
            rows = projection.op.row_largest(spans, pre, post) * network[projection.pre].payload_scale
            rows = rows * (formats.high / own.high)  # fewer bits: as if its weights were larger
            found[projection.op] = np.maximum(found.get(projection.op, np.zeros(())), rows)
    return found


def exponents(
    network: Network[FloatNeuron], population: Population[FloatNeuron], formats: Formats
) -> dict[LinearOp, int]:
    """Power of two that each operator's integer weights are multiplied by, where one scale serves very different ones.

    An identity shortcut of weight 1 beside a convolution of weights below 0.05 (Spiking ResNet, tdBN) would leave the
    convolution six units: its own weights in units of 2**e leave it all. Told from the median over neurons; below a
    ratio of WORTH_A_UNIT one unit serves all.
    """
    rows = _rows(network, population, formats)
    least: Array | float = np.inf
    for row in rows.values():
        least = np.minimum(least, np.where(row > 0, row, np.inf))
    found = {}
    for op, row in rows.items():
        both = (row > 0) & np.isfinite(least)
        ratio = float(np.median((row / np.where(both, least, 1.0))[both])) if both.any() else 1.0
        found[op] = min(int(math.log2(ratio)), formats.numeric.weight_exp_max) if ratio >= WORTH_A_UNIT else 0
    return found


def least_exponents(
    network: Network[FloatNeuron],
    population: Population[FloatNeuron],
    formats: Formats,
    scale: Array,
    ops: Container[LinearOp],
) -> dict[LinearOp, int]:
    """The smallest power of two of some operators at which a scale clips none of their weights, if there is one."""
    rows = _rows(network, population, formats)
    spans = {op: float(np.max(row * scale)) / formats.high for op, row in rows.items() if op in ops}
    most = formats.numeric.weight_exp_max
    return {op: min(max(math.ceil(math.log2(max(span, 1e-30)) - ALIKE), 0), most) for op, span in spans.items()}


def whole_scale(scale: Scale, unit: int) -> Scale:
    """The nearest scale below that leaves whole weights exact; the scale itself where none is large enough."""
    value = np.floor(scale.value / unit) * unit
    if value.min() < unit:
        return scale
    return Scale(np.asarray(value), "whole weights stay exact")


def largest_weights(
    network: Network[FloatNeuron],
    population: Population[FloatNeuron],
    shared: bool,
    powers: Mapping[LinearOp, int],
    formats: Formats,
    but: Container[LinearOp] = (),
) -> Array:
    """Largest |weight| per channel (or neuron) over all operators `but` these, in units of 2**(an operator's power)."""
    rows = _rows(network, population, formats)
    largest = np.zeros(())
    for op, row in rows.items():
        largest = np.maximum(largest, 0.0 * row if op in but else row * 2.0 ** -powers[op])
    if shared:
        return np.asarray(largest.max())
    if largest.ndim == len(population.shape):  # neurons that share weights share their scale
        alike = [a for a in range(largest.ndim) if any(op.rows(population.shape)[a] == 1 for op in rows)]
        return np.asarray(largest.max(axis=tuple(alike), keepdims=True))
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


def worst(level: Array, population: Population[FloatNeuron], shape: Shape) -> Array:
    """The largest |level| of the neurons that share a scale, of the scale's shape."""
    sizes = np.broadcast_to(np.abs(level), population.shape)
    if not shape:
        return np.asarray(sizes.max())
    return np.asarray(sizes.max(axis=tuple(a for a, n in enumerate(shape) if n == 1), keepdims=True))


def largest_scale(population: Population[FloatNeuron], formats: Formats, shape: Shape) -> Array:
    """Scales at which threshold and bias stay far inside the membrane's bits even before the shift."""
    levels = (worst(level, population, shape) for level in (population.model.threshold, population.model.bias))
    return np.asarray((formats.v_max + 1 >> 3) / np.maximum(np.maximum(*levels), 1e-30))


def base_scale(largest: Array, population: Population[FloatNeuron], formats: Formats) -> Array:
    """Scale at which the largest weight just fits; silent channels (all-zero weights) borrow the others' scale."""
    some = largest[largest > 0]
    most = largest_scale(population, formats, largest.shape)
    if some.size == 0:
        return np.asarray(most * formats.high / (formats.v_max + 1 >> 3))
    with np.errstate(divide="ignore", over="ignore"):
        fitting = np.where(largest > 0, formats.high / largest, formats.high / some.max())
    return np.asarray(np.minimum(fitting, most))


@dataclass(frozen=True)
class Trial:
    """What rounding at a scale would cost one population, told from what its operators read on calibration data."""

    network: Network[FloatNeuron]
    population: Population[FloatNeuron]
    moments: Mapping[LinearOp, Moments]
    powers: Mapping[LinearOp, int]

    def cost(self, scale: Array, formats: Formats) -> Array:
        """Squared error in reals, of the scale's shape: of the current (its variance) and of the threshold."""
        total = np.zeros(self.population.shape)
        seen: set[LinearOp] = set()
        for projection in self.network.into(self.population.name):
            if projection.op not in self.moments or projection.op in seen:
                continue
            seen.add(projection.op)
            unit = scale * self.network[projection.pre].payload_scale * 2.0 ** -self.powers[projection.op]
            where = self.network.between(projection)
            units = projection.op.scaled(where[0], np.asarray(unit), *where[1:], projection.name)
            errors = (units - round_weights(units, 1.0, formats.of(projection.op))).reshape(len(units), -1)
            met = self.moments[projection.op]
            rows = met.variance(errors)
            if np.any(self.population.model.u_keep):  # the mean of a filtered current is not taken into the bias
                rows = rows + np.square(errors @ met.mean)
            shape = projection.op.rows(self.population.shape)
            total = total + rows.reshape(shape) * 4.0 ** self.powers[projection.op] / scale**2
        if self.population.kind is not Kind.ACCUMULATOR:
            units = self.population.model.threshold * scale
            grain = formats.threshold_step / (1 << formats.act_shifts[0])
            total = total + ((np.rint(units / grain) * grain - units) / scale) ** 2
        return np.asarray(_like(total, scale.shape))


def _like(total: Array, shape: Shape) -> Array:
    """The mean over every axis on which a scale does not vary."""
    if not shape:
        return np.asarray(total.mean())
    axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return np.asarray(total.mean(axis=axes, keepdims=True))


def choose(
    largest: Array, population: Population[FloatNeuron], formats: Formats, trial: Trial | None, limit: Array
) -> Scale:
    """The scale of a population: the best of some candidates on calibration data, else the largest that clips nothing.

    Where every channel has its own scale, each takes its own best.

    Args:
        limit: no scale above this, per channel or for all (host-computed currents and biases must fit their format,
            weights that `trial` does not look at must not be clipped).
    """
    neuron = population.model
    base = np.minimum(base_scale(largest, population, formats), limit)
    spiking = population.kind is not Kind.ACCUMULATOR

    def candidate(factor: float) -> Array:
        value = np.minimum(base * factor, limit)
        return whole_threshold(value, neuron.threshold, 1) if spiking else value

    if trial is None:
        whole = " and the threshold is a whole number of weight units" if spiking else ""
        return Scale(candidate(1.0), f"largest scale at which no weight is clipped{whole}")
    candidates = np.stack([candidate(factor) for factor in FACTORS])
    costs = np.stack([trial.cost(scale, formats) for scale in candidates])
    best = costs.argmin(axis=0)[None]
    chosen = np.take_along_axis(candidates, best, axis=0)[0]
    factors = np.asarray(FACTORS)[best]
    gain = math.sqrt(float(np.take_along_axis(costs, best, axis=0).mean()) / max(float(costs[0].mean()), 1e-300))
    span = f"{factors.min():g}" if factors.min() == factors.max() else f"{factors.min():g} to {factors.max():g}"
    return Scale(
        np.asarray(chosen, np.float64),
        f"factor {span} of the largest scale that clips nothing: least error of the current on calibration data "
        f"({gain:.3g} of that at factor 1)",
    )
