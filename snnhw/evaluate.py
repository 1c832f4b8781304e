"""The float evaluator of a Network, layer-synchronous; float64 unless the inputs are float32.

Calibration, import checks and the `float` engine all use it. Delays and start steps play no part: one sample step
updates all layers, as the trained model does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from snnhw.network import (
    Array,
    Comparison,
    FloatNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Reset,
    ResetTiming,
    Shape,
)
from snnhw.torch_ops import product, weight_tensor


def fire(neuron: FloatNeuron, x: Array) -> Array:
    """Spikes (B, T, ...) of a float neuron for its input x (B, T, ...), gain and bias included in x."""
    v = np.full((x.shape[0], *x.shape[2:]), neuron.v_init, x.dtype)
    spikes = np.zeros_like(x)
    debt: Array | float = 0.0
    for t in range(x.shape[1]):
        v = (v if neuron.v_keep == 1.0 else neuron.v_keep * v) + x[:, t] - debt
        s = emitted(neuron, v)
        spikes[:, t] = s
        v, debt = settle(neuron, v, s)
    return spikes


def emitted(neuron: FloatNeuron, v: Array) -> Array:
    """Spike counts of membranes before reset."""
    above = v >= neuron.threshold if neuron.comparison is Comparison.GE else v > neuron.threshold
    if neuron.max_spikes == 1:
        return above.astype(np.float64)
    return np.where(above, np.minimum(np.floor(v / neuron.threshold), neuron.max_spikes), 0.0)


def settle(neuron: FloatNeuron, v: Array, s: Array) -> tuple[Array, Array | float]:
    """Membrane after the spikes, and what the next step still owes (next-step reset)."""
    debt: Array | float = 0.0
    if neuron.reset is Reset.SUBTRACT:
        charge = s * neuron.threshold
        if neuron.reset_timing is ResetTiming.NEXT_STEP:
            debt = charge
        else:
            v = v - charge
    else:
        v = np.where(s > 0, neuron.v_reset, v)
    return (v if neuron.v_min is None else np.maximum(v, neuron.v_min)), debt


def current_into(
    network: Network[FloatNeuron], population: Population[FloatNeuron], values: Mapping[str, Array]
) -> Array:
    """Summed synaptic input (B, T, *shape), bias not included, in the float type of `values`.

    Summands that share weights are added first.
    """
    grouped: dict[tuple[LinearOp, Shape, int], Array] = {}
    for projection in network.into(population.name):
        pre = values[projection.pre]
        key = (projection.op, pre.shape[2:], projection.lag)
        grouped[key] = grouped[key] + pre if key in grouped else pre
    total: Array | None = None
    for (op, _, lag), pre in grouped.items():
        arrived = _arrived(op, network, late(pre, lag), population)
        total = arrived if total is None else total + arrived
    assert total is not None
    return total


def late(x: Array, lag: int) -> Array:
    """Values (B, T, ...) that many steps later; zeros come in, the last ones fall out of the sample."""
    if lag == 0:
        return x
    out = np.zeros_like(x)
    out[:, lag:] = x[:, :-lag]
    return out


def _arrived(op: LinearOp, network: Network[FloatNeuron], pre: Array, post: Population[FloatNeuron]) -> Array:
    batch, steps = pre.shape[:2]
    static = steps > 1 and pre.strides[1] == 0  # direct encoding: the same at every step, once is enough
    folded = pre[:, 0] if static else pre.reshape(batch * steps, *pre.shape[2:])
    x = torch.tensor(folded)
    weight = weight_tensor(op, network.weights, x[0].numel(), x.dtype)
    y = product(op, weight, x, post.shape).numpy()
    if static:
        return np.broadcast_to(y[:, None], (batch, steps, *post.shape))
    return y.reshape(batch, steps, *post.shape)


def evaluate(network: Network[FloatNeuron], inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Spikes of each population in topological order; accumulators give their summed input of every step.

    Values are held until their last reader has run.

    Args:
        inputs: real values of the input populations, (B, T, *shape), float64 or float32.
    """
    values: dict[str, Array] = {}
    last = last_readers(network)
    for place, population in enumerate(network.populations):
        if population.kind is Kind.INPUT:
            values[population.name] = inputs[population.name]
        else:
            total = current_into(network, population, values)
            neuron = population.model
            driven = current(neuron, total) + neuron.bias.astype(total.dtype)
            values[population.name] = driven if population.kind is Kind.ACCUMULATOR else fire(neuron, driven)
        yield population.name, values[population.name]
        for name in [name for name in values if last[name] <= place]:
            del values[name]


def last_readers(network: Network[Any]) -> dict[str, int]:
    """Population name -> place, in the network's order, of the last population that reads it; its own if none does."""
    place = {population.name: i for i, population in enumerate(network.populations)}
    return {
        name: max((place[projection.post] for projection in network.out_of(name)), default=own)
        for name, own in place.items()
    }


def current(neuron: FloatNeuron, total: Array) -> Array:
    """u[t] = u_keep * u[t-1] + a[t]; without synaptic memory the input itself."""
    if neuron.u_keep == 0.0:
        return total
    u = np.zeros_like(total)
    u[:, 0] = total[:, 0]
    for t in range(1, total.shape[1]):
        u[:, t] = neuron.u_keep * u[:, t - 1] + total[:, t]
    return u
