"""The default engine: layer by layer over all sample steps, many samples at once.

It has no chip steps, no delays and no start steps; that it equals the reference engine proves the schedule.
Synapses are torch convolutions and matrix products in floating point, exact because every partial sum is an integer
below the mantissa's limit; which float type is enough is decided from the weights. Neurons are `kernels.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from snnhw import fixed
from snnhw.artifact import Artifact
from snnhw.engines.base import Observer, Record
from snnhw.engines.kernels import update
from snnhw.errors import EngineError
from snnhw.evaluate import late
from snnhw.linear import reach
from snnhw.network import Array, Inject, IntNeuron, Kind, Network, Population, Projection
from snnhw.torch_ops import product, weight_tensor

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53


class FastEngine:
    """Batched and layer-synchronous (docs/design.md §5)."""

    name = "fast"

    def run(self, artifact: Artifact, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None:
        """Run each chunk as one batch; chunks are independent because samples are."""
        plan = Plan(artifact.network)
        first = 0
        for chunk in chunks:
            for population, record in plan.run(chunk):
                for observer in observers:
                    observer.observe(first, population, record)
            first += next(iter(chunk.values())).shape[0]


@dataclass(frozen=True)
class Synapses:
    """Projections into one population that share operator and weights: their spikes are added first.

    Not where `weight_exp` is negative: the contract shifts the sum of each projection, which floors each.
    """

    pres: tuple[str, ...]
    projection: Projection
    weight: torch.Tensor | None
    dtype: torch.dtype


class Plan:
    """A network made ready to run: synapses grouped, weights in the float type that is exact for them."""

    def __init__(self, network: Network[IntNeuron]) -> None:
        self.network = network
        self.groups = {p.name: _groups(network, p) for p in network.computed}
        order = {p.name: i for i, p in enumerate(network.populations)}
        self.last_use = {
            p.name: max((order[q.post] for q in network.out_of(p.name)), default=-1) for p in network.populations
        }

    def run(self, chunk: Mapping[str, Array]) -> Iterable[tuple[str, Record]]:
        """Records of all populations in topological order for one batch."""
        values: dict[str, Array] = {}
        for i, population in enumerate(self.network.populations):
            if population.kind is Kind.INPUT:
                record = Record(np.asarray(chunk[population.name]))
            else:
                record = self._compute(population, values)
            values[population.name] = record.spikes
            yield population.name, record
            for name in [name for name in values if self.last_use[name] <= i]:
                del values[name]

    def _compute(self, population: Population[IntNeuron], values: Mapping[str, Array]) -> Record:
        total: Array | None = None
        for group in self.groups[population.name]:
            part = self._arriving(group, values, population)
            total = part if total is None else total + part
        assert total is not None
        batch, steps = total.shape[:2]
        flat = total.reshape(batch, steps, population.size)
        neuron = _flat(population)
        spikes, u, v, wraps, clips = update(neuron, population.kind is not Kind.ACCUMULATOR, flat)
        shape = (batch, steps, *population.shape)
        return Record(spikes.reshape(shape), u.reshape(shape), v.reshape(shape), wraps, clips)

    def _arriving(self, group: Synapses, values: Mapping[str, Array], post: Population[IntNeuron]) -> Array:
        spikes = values[group.pres[0]]
        for name in group.pres[1:]:
            spikes = np.add(spikes, values[name], dtype=np.result_type(spikes, values[name], np.int32))
        spikes = late(spikes, group.projection.lag)
        steps = spikes.shape[1]
        if steps > 1 and spikes.strides[1] == 0:  # a static input: once is enough
            summed = self._synapses(group, spikes[:, :1], post)
            return np.broadcast_to(summed, (summed.shape[0], steps, *post.shape))
        return self._synapses(group, spikes, post)

    def _synapses(self, group: Synapses, spikes: Array, post: Population[IntNeuron]) -> Array:
        batch, steps = spikes.shape[:2]
        if group.weight is None:  # injected by the host
            return np.asarray(fixed.shifted(np.asarray(spikes, np.int64), group.projection.weight_exp))
        x = torch.tensor(np.ascontiguousarray(spikes.reshape(batch * steps, *spikes.shape[2:])), dtype=group.dtype)
        # Winograd kernels would round; oneDNN's direct ones do not, NNPACK may choose them
        with torch.backends.nnpack.flags(enabled=False):
            y = product(group.projection.op, group.weight, x, post.shape).reshape(batch, steps, *post.shape)
        return np.asarray(fixed.shifted(y.numpy().astype(np.int64), group.projection.weight_exp))


def _groups(network: Network[IntNeuron], population: Population[IntNeuron]) -> tuple[Synapses, ...]:
    found: dict[tuple[object, ...], list[Projection]] = {}
    for projection in network.into(population.name):
        alone = projection.name if projection.weight_exp < 0 else ""
        key = (projection.op, projection.weight_exp, network[projection.pre].shape, projection.lag, alone)
        found.setdefault(key, []).append(projection)
    return tuple(_synapses(network, population, members) for members in found.values())


def _synapses(network: Network[IntNeuron], post: Population[IntNeuron], members: list[Projection]) -> Synapses:
    first = members[0]
    pres = tuple(p.pre for p in members)
    if isinstance(first.op, Inject):
        return Synapses(pres, first, None, torch.int64)
    largest = sum(max(abs(bound) for bound in network[name].payload) for name in pres)
    dtype = _exact_type(network, first, post, largest)
    return Synapses(pres, first, weight_tensor(first.op, network.weights, network[first.pre].size, dtype), dtype)


def _exact_type(
    network: Network[IntNeuron], projection: Projection, post: Population[IntNeuron], largest: int
) -> torch.dtype:
    """The smallest float type in which every partial sum of |w| * payload is an exact integer."""
    op = projection.op
    assert not isinstance(op, Inject)
    magnitudes = {**network.weights, op.weight: np.abs(np.asarray(network.weights[op.weight], np.int64))}
    _, top = reach(op, magnitudes, 0, largest, network[projection.pre].shape, post.shape)
    bound = int(top.max(initial=0))
    # a user's torch.set_float32_matmul_precision("medium") would let torch multiply in bfloat16
    if bound < FLOAT32_EXACT and torch.get_float32_matmul_precision() == "highest":
        return torch.float32
    if bound < FLOAT64_EXACT:
        return torch.float64
    raise EngineError(
        "sum-too-large",
        "a sum of synaptic inputs exceeds what 53 bit hold exactly",
        where=projection.name,
        needed=bound,
        limit=FLOAT64_EXACT,
        hint="use --engine reference",
    )


def _flat(population: Population[IntNeuron]) -> IntNeuron:
    neuron = population.model
    vth, bias = (np.broadcast_to(np.asarray(x), population.shape).ravel() for x in (neuron.vth, neuron.bias))
    return replace(neuron, vth=vth, bias=bias)
