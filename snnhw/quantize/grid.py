"""Weights that are whole multiples of a step already, as quantisation-aware training leaves them: the step is kept."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from snnhw.network import Array, FloatNeuron, LinearOp, Network, Population
from snnhw.quantize.formats import Formats

WHOLE = 2e-5
"""Weights this near to a whole number of steps are one: float32 is off by 2**-24 of up to 127 steps."""

TRIED_FIRST = 8
"""Weights of a row that are looked at before all of them are."""


def row_steps(rows: Array, most: int) -> Array:
    """The largest step of each row of which all its weights are whole multiples, of at most so many steps.

    Args:
        rows: (rows, weights).

    Returns:
        (rows,); 0 where there is none or the row has no weights but 0.
    """
    sizes = np.abs(rows)
    largest = sizes.max(axis=1, initial=0.0)
    found = np.zeros(len(rows))
    left = np.flatnonzero(largest > 0)
    relative = sizes[left] / largest[left, None]
    few = np.sort(relative, axis=1)[:, -TRIED_FIRST:]
    for steps in range(1, most + 1):
        likely = np.flatnonzero(_whole(few * steps).all(axis=1))
        sure = likely[_whole(relative[likely] * steps).all(axis=1)]
        found[left[sure]] = largest[left[sure]] / steps
        others = np.ones(len(left), bool)
        others[sure] = False
        left, relative, few = left[others], relative[others], few[others]
        if not len(left):
            break
    return found


def _whole(x: Array) -> Array:
    return np.asarray(np.abs(x - np.rint(x)) <= WHOLE)


def kept_scale(
    network: Network[FloatNeuron],
    population: Population[FloatNeuron],
    powers: Mapping[LinearOp, int],
    formats: Formats,
    limit: Array,
) -> Array:
    """The largest scale at which all weights into a neuron are whole; 0 where they are on no common grid.

    Constants have steps of their own and are not asked, but where a scale of at least half of that makes them whole
    too, it is taken: the weights are exact at either.

    Args:
        powers: exponents of the operators.
        limit: no scale above this; of the scale's shape.
    """
    nowhere = np.zeros(limit.shape)
    found: list[tuple[Array, Array]] = []
    into = network.into(population.name)
    for op in {q.op for q in into}:
        if op.injects:
            return nowhere
        if op.weight in network.constants:
            continue
        own, payloads = formats.of(op), {network[q.pre].payload_scale for q in into if q.op == op}
        if len(payloads) > 1:
            return nowhere
        weights, shape = np.atleast_1d(network.array(op)).astype(np.float64), op.rows(population.shape)
        rows = weights.reshape(len(weights) if len(weights) == prod(shape) else 1, -1)
        rows = rows * (payloads.pop() * 2.0 ** -powers[op] / own.step)
        steps, most = row_steps(rows, own.high // own.step), np.abs(rows).max(axis=1) / (own.high // own.step)
        if not limit.shape or len(rows) == 1:
            steps, most = _common(steps, most > 0), most.max()
        elif shape != limit.shape:
            return nowhere
        steps, most = (
            np.broadcast_to(x.reshape(limit.shape if x.size > 1 else ()), limit.shape) for x in (steps, most)
        )
        found.append((np.where(most > 0, steps, np.inf), most))
    if not found:
        return nowhere
    step = np.minimum.reduce([steps for steps, _ in found])
    largest = np.maximum.reduce([most for _, most in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.logical_and.reduce([np.isinf(steps) | _whole(steps / step) for steps, _ in found])
        times = np.floor(np.minimum(1.0 / largest, limit) * step * (1 + WHOLE))
        kept = times / step
    kept = np.asarray(np.where(whole & np.isfinite(step) & (step > 0) & (times >= 1), kept, 0.0))
    return _with_constants(network, population, formats, kept, step)


def _with_constants(
    network: Network[FloatNeuron], population: Population[FloatNeuron], formats: Formats, kept: Array, step: Array
) -> Array:
    """The largest scales, down to half of those kept, at which constants are whole as well; `kept` where none is."""
    found: list[Array] = []
    for op in {q.op for q in network.into(population.name)}:
        if op.weight not in network.constants:
            continue
        weights, own, shape = np.atleast_1d(network.array(op)).astype(np.float64), formats.of(op), kept.shape
        if shape and (op.rows(population.shape) != shape or len(weights) != prod(shape)):
            return kept
        each = weights.reshape(*shape, -1)
        if (np.abs(each) * kept[..., None]).max() <= own.high:  # else they get units of a power of two
            found.append(each / own.step)
    if not found:
        return kept
    constants, used = np.concatenate(found, axis=-1), np.where(kept > 0, step, 1.0)
    times, left = np.rint(kept * used), kept > 0
    for fewer in range(int(times.max()) // 2 + 1):
        tried = (times - fewer) / used
        fit = left & (2 * tried >= kept) & _whole(constants * tried[..., None]).all(axis=-1)
        kept, left = np.where(fit, tried, kept), left & ~fit
    return kept


def _common(steps: Array, used: Array) -> Array:
    """The one step of all rows that are used, 0 if they have none."""
    some = steps[used]
    step = some.min(initial=np.inf)
    return np.asarray(step if some.size and step > 0 and _whole(some / step).all() else 0.0)
