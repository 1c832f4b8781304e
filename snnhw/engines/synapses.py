"""Synapses of the fast engine: torch products in floating point that are exact.

Every partial sum is an integer below the mantissa's limit; which float type is enough is decided from the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from snnhw import fixed
from snnhw.errors import EngineError
from snnhw.limits import FLOAT32_EXACT, FLOAT64_EXACT
from snnhw.network import Array, IntNeuron, Network, Population, Projection


@dataclass(frozen=True)
class Synapses:
    """Projections into one population that share operator and weights: their spikes are added first.

    Not where `weight_exp` is negative: the contract shifts the sum of each projection, which floors each.
    """

    pres: tuple[str, ...]
    projection: Projection
    weight: torch.Tensor | None
    dtype: torch.dtype

    def arriving(self, values: Mapping[str, Array], past: Mapping[str, Array], post: Population[IntNeuron]) -> Array:
        """What reaches the post population at every step, (B, k, *post).

        Args:
            values: spikes of these steps, (B, k, *pre).
            past: spikes of the steps before, oldest first, (B, depth, *pre), of what is read late.
        """
        lag = self.projection.lag
        if lag:
            both = ((name, np.concatenate([past[name][:, -lag:], values[name]], axis=1)) for name in self.pres)
            values = {name: x[:, : values[name].shape[1]] for name, x in both}
        spikes = self.added(values)
        steps = spikes.shape[1]
        if steps > 1 and spikes.strides[1] == 0:  # a static input: once is enough
            summed = self.sums(spikes[:, :1], post)
            return np.broadcast_to(summed, (summed.shape[0], steps, *post.shape))
        return self.sums(spikes, post)

    def added(self, values: Mapping[str, Array]) -> Array:
        """The spikes of all pre populations, added."""
        spikes = values[self.pres[0]]
        for name in self.pres[1:]:
            spikes = np.add(spikes, values[name], dtype=np.result_type(spikes, values[name], np.int32))
        return spikes

    def sums(self, spikes: Array, post: Population[IntNeuron]) -> Array:
        """Weighted sums (B, T, *post) of added spikes (B, T, *pre), shifted by the exponent."""
        batch, steps = spikes.shape[:2]
        if self.weight is None:  # injected by the host
            return np.asarray(fixed.shifted(np.asarray(spikes, np.int64), self.projection.weight_exp))
        flat = np.ascontiguousarray(spikes.reshape(batch * steps, *spikes.shape[2:]))
        x = torch.tensor(flat, dtype=self.dtype, device="cpu")
        # Winograd kernels would round; oneDNN's direct ones do not, NNPACK may choose them
        with torch.backends.nnpack.flags(enabled=False):
            y = self.projection.op.product(self.weight, x, post.shape).reshape(batch, steps, *post.shape)
        total: Array = y.numpy().astype(np.int64)
        exponent = self.projection.weight_exp  # a shift by none would copy what is the largest array of a run
        return np.asarray(fixed.shifted(total, exponent)) if exponent else total


def grouped(
    network: Network[IntNeuron], population: Population[IntNeuron], projections: Iterable[Projection]
) -> tuple[Synapses, ...]:
    """Some of the projections into a population, those that share operator and weights together."""
    found: dict[tuple[object, ...], list[Projection]] = {}
    for projection in projections:
        alone = projection.name if projection.weight_exp < 0 else ""
        key = (projection.op, projection.weight_exp, network[projection.pre].shape, projection.lag, alone)
        found.setdefault(key, []).append(projection)
    return tuple(_synapses(network, population, members) for members in found.values())


def _synapses(network: Network[IntNeuron], post: Population[IntNeuron], members: list[Projection]) -> Synapses:
    first = members[0]
    pres = tuple(p.pre for p in members)
    if first.op.injects:
        return Synapses(pres, first, None, torch.int64)
    largest = sum(max(abs(bound) for bound in network[name].payload) for name in pres)
    dtype = _exact_type(network, first, largest)
    return Synapses(pres, first, first.op.tensor(*network.between(first), dtype), dtype)


def _exact_type(network: Network[IntNeuron], projection: Projection, largest: int) -> torch.dtype:
    """The smallest float type in which every partial sum of |w| * payload is an exact integer."""
    weights, pre, post = network.between(projection)
    bound = projection.op.magnitude(weights, largest, pre, post)
    if bound < FLOAT32_EXACT:
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
