"""The float evaluator of a Network, layer-synchronous; float64 unless the inputs are float32.

Calibration, import checks and the `float` engine all use it. Delays and start steps play no part: one sample step
updates all layers, as the trained model does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from snnhw.network import (
    Array,
    FloatNeuron,
    Kind,
    LinearOp,
    Network,
    Population,
    Projection,
    Shape,
)
from snnhw.neurons.cuba_lif import Cells


def fire(neuron: FloatNeuron, x: Array) -> Array:
    """Spikes (B, T, ...) of a float neuron for its summed input x (B, T, ...)."""
    return _over_time(neuron, x, lambda cells, now: cells.step(now))


def membrane(neuron: FloatNeuron, x: Array) -> Array:
    """Membranes (B, T, ...) of a neuron that never fires."""
    return _over_time(neuron, x, lambda cells, now: cells.integrate(now))


def kept_membrane(neuron: FloatNeuron, x: Array) -> Array:
    """Membranes (B, T, ...) that a neuron which fires keeps for the next step."""

    def step(cells: Cells, now: Array) -> Array:
        cells.step(now)
        return cells.v

    return _over_time(neuron, x, step)


def undecided(neuron: FloatNeuron, x: Array) -> Array:
    """Membranes (B, T, ...) of a neuron that fires, before each of its spike decisions."""

    def step(cells: Cells, now: Array) -> Array:
        cells.step(now)
        return cells.before

    return _over_time(neuron, x, step)


def _over_time(neuron: FloatNeuron, x: Array, step: Callable[[Cells, Array], Array]) -> Array:
    cells = neuron.cells((x.shape[0], *x.shape[2:]), x.dtype)
    out = np.empty_like(x, subok=False)
    for t in range(x.shape[1]):
        out[:, t] = step(cells, x[:, t])
    return out


def current_into(
    network: Network[FloatNeuron],
    population: Population[FloatNeuron],
    values: Mapping[str, Array],
    projections: Sequence[Projection] | None = None,
) -> Array:
    """Summed synaptic input (B, T, *shape), bias not included, in the float type of `values`.

    Summands that share weights are added first.

    Args:
        projections: some of those into the population; all of them if None.
    """
    grouped: dict[tuple[LinearOp, Shape, int], Array] = {}
    for projection in network.into(population.name) if projections is None else projections:
        pre = values[projection.pre]
        key = (projection.op, pre.shape[2:], projection.lag)
        grouped[key] = grouped[key] + pre if key in grouped else pre
    total: Array | None = None
    for (op, _, lag), pre in grouped.items():
        summand = arrived(op, network, late(pre, lag), population)
        total = summand if total is None else total + summand
    assert total is not None
    return total


def late(x: Array, lag: int) -> Array:
    """Values (B, T, ...) that many steps later; zeros come in, the last ones fall out of the sample."""
    if lag == 0:
        return x
    out = np.zeros_like(x)
    out[:, lag:] = x[:, :-lag]
    return out


def arrived(op: LinearOp, network: Network[Any], pre: Array, post: Population[Any]) -> Array:
    """What an operator makes of values (B, T, ...), (B, T, *post shape), in their float type."""
    batch, steps = pre.shape[:2]
    static = steps > 1 and pre.strides[1] == 0  # direct encoding: the same at every step, once is enough
    folded = pre[:, 0] if static else pre.reshape(batch * steps, *pre.shape[2:])
    x = torch.tensor(folded, device="cpu")
    y = op.product(op.tensor(network.weights, pre.shape[2:], post.shape, x.dtype), x, post.shape).numpy()
    if static:
        return np.broadcast_to(y[:, None], (batch, steps, *post.shape))
    return y.reshape(batch, steps, *post.shape)


def evaluate(network: Network[FloatNeuron], inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Spikes of each population behind those it reads; accumulators give what `shown` says.

    The order is `Network.components`: the network's own where nothing feeds back. Values are held until their last
    reader has run.

    Args:
        inputs: real values of the input populations, (B, T, *shape), float64 or float32.
    """
    values: dict[str, Array] = {}
    last, key = _last_components(network), output_key(network)
    for place, names in enumerate(network.components):
        if len(names) == 1 and all(q.pre != names[0] for q in network.into(names[0])):
            (name,) = names
            reads = network[name].kind is not Kind.INPUT
            found = _alone(network, name, values, inputs) if reads else {name: inputs[name]}
        else:
            found = _together(network, names, values)
        values |= {name: x for name, x in found.items() if name != key or key in last}
        yield from found.items()
        for name in [name for name in values if last[name] <= place]:
            del values[name]


def output_key(network: Network[Any]) -> str:
    """Under which name `evaluate` gives what is read: the population's, or v/NAME of a spiking one's membranes."""
    readout = network.readout
    kept = readout.kind == "membrane" and network[readout.population].kind is not Kind.ACCUMULATOR
    return f"v/{readout.population}" if kept else readout.population


def _alone(
    network: Network[FloatNeuron], name: str, values: Mapping[str, Array], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """One population over all steps, and its membranes where those are read."""
    population = network[name]
    if network.into(name):
        total = current_into(network, population, values)
    else:
        like = next(iter(inputs.values()))
        total = np.zeros((*like.shape[:2], *population.shape), like.dtype)
    if output_key(network) == f"v/{name}":
        kept = kept_membrane(population.model, total)
        return {name: shown(network, population, total), f"v/{name}": kept}
    return {name: shown(network, population, total)}


def shown(network: Network[FloatNeuron], population: Population[FloatNeuron], total: Array) -> Array:
    """What a population gives for its summed input (B, T, ...): spikes; of accumulators the membrane where that is
    read, or the input of every step where its mean is."""
    if population.kind is not Kind.ACCUMULATOR:
        return fire(population.model, total)
    if shows_membrane(network, population):
        return membrane(population.model, total)
    return np.asarray(total + population.model.bias.astype(total.dtype))


def shows_membrane(network: Network[Any], population: Population[FloatNeuron]) -> bool:
    """Whether an accumulator's output is its membrane at every step, not what the step added to it."""
    read = network.readout.population == population.name and network.readout.kind == "membrane"
    return read or bool(np.any(population.model.u_keep)) or not np.all(population.model.v_keep == 1.0)


def _together(network: Network[FloatNeuron], names: tuple[str, ...], values: Mapping[str, Array]) -> dict[str, Array]:
    """A loop of populations, step by step; feedback is zero until its lag has passed."""
    like = next(iter(values.values()))
    populations = [network[name] for name in names]
    outside = {p.name: _from_outside(network, p, names, values) for p in populations}
    found = {p.name: np.zeros((*like.shape[:2], *p.shape), like.dtype) for p in populations}
    key = output_key(network)
    if network.readout.population in found and key not in found:
        found[key] = np.zeros_like(found[network.readout.population])
    cells = {p.name: p.model.cells((len(like), *p.shape), like.dtype) for p in populations}
    for t in range(like.shape[1]):
        for p in populations:
            total = outside[p.name][:, t]
            for q in network.into(p.name):
                if q.pre in found and t >= q.lag:
                    total = total + arrived(q.op, network, found[q.pre][:, t - q.lag, None], p)[:, 0]
            found[p.name][:, t] = cells[p.name].step(total)
            if key == f"v/{p.name}":
                found[key][:, t] = cells[p.name].v
    return found


def _from_outside(
    network: Network[FloatNeuron],
    population: Population[FloatNeuron],
    loop: tuple[str, ...],
    values: Mapping[str, Array],
) -> Array:
    """Summed input of a loop's member from the populations before the loop."""
    projections = [q for q in network.into(population.name) if q.pre not in loop]
    if projections:
        return current_into(network, population, values, projections)
    like = next(iter(values.values()))
    return np.zeros((*like.shape[:2], *population.shape), like.dtype)


def _last_components(network: Network[Any]) -> dict[str, int]:
    """Population name -> place in `Network.components` of the last group that reads it; its own if none does."""
    place = {name: i for i, names in enumerate(network.components) for name in names}
    return {name: max([place[q.post] for q in network.out_of(name)] + [own]) for name, own in place.items()}
