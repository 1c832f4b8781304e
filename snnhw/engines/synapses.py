"""Synapses of the fast engine: products of 8-bit integers, or of floats in which every sum is exact.

Which is used is decided from weights and payloads when a network is opened, never by trying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np
import torch

from snnhw import fixed
from snnhw.engines import onednn
from snnhw.engines.layout import inner, outer, switched_off
from snnhw.errors import EngineError
from snnhw.limits import FLOAT32_EXACT, FLOAT64_EXACT
from snnhw.network import Array, Dense, IntNeuron, Network, Population, Projection, Shape
from snnhw.operators import Operator

FEW = 1 << 14
"""Weights of a matrix below which calling oneDNN takes longer than the product."""

TRIED = 4
"""Copies of the self-test's images: oneDNN chooses other code for a few images than for many."""

_OWN: tuple[Literal["C"], Literal["W"]] = ("C", "W")
"""Of arrays that torch takes."""


@dataclass(frozen=True)
class Synapses:
    """Projections into one population that share operator and weights: their spikes are added first.

    Not where the exponent is negative: the contract shifts the sum of each projection, which floors each.

    Args:
        exponent: what arrives is the sum times 2**exponent.
        bound: of the sums' magnitude.
        weight: for a product in floats; None where values pass as they are, or `quick` is there.
        quick: the product of 8-bit integers, if it is used.
        planes: how many planes payloads are cut into for it, and the bits of each.
        why: why it is not used.
    """

    pres: tuple[str, ...]
    projection: Projection
    pre: Shape
    post: Shape
    payload: tuple[int, int]
    exponent: int
    bound: int
    dtype: torch.dtype
    weight: torch.Tensor | None = None
    quick: onednn.Product | None = None
    planes: tuple[int, int] = (1, 8)
    why: str = ""

    @property
    def kernel(self) -> str:
        """Name of the product."""
        if self.quick is not None:
            products = self.planes[0] * (2 if self.payload[0] < 0 else 1)
            return f"int8 (oneDNN){f', {products} products' if products > 1 else ''}"
        return "none" if self.weight is None and self.projection.op.injects else str(self.dtype).removeprefix("torch.")

    def arriving(self, values: Mapping[str, Array], past: Mapping[str, Array]) -> Array:
        """Sums of every step before the exponent, (B, k, N) or, of a static input, (B, 1, N); populations' neurons are
        in the engine's order.

        Args:
            values: spikes of these steps, (B, k, N).
            past: spikes of the steps before, oldest first, (B, depth, N), of what is read late.
        """
        if lag := self.projection.lag:
            both = {name: np.concatenate([past[name][:, -lag:], values[name]], axis=1) for name in self.pres}
            values = {name: x[:, : values[name].shape[1]] for name, x in both.items()}
        spikes = self.added(values)
        if spikes.shape[1] > 1 and spikes.strides[1] == 0:  # a static input: once is enough
            spikes = spikes[:, :1]
        return self.sums(spikes)

    def added(self, values: Mapping[str, Array]) -> Array:
        """The spikes of all pre populations, added."""
        spikes = values[self.pres[0]]
        for name in self.pres[1:]:
            spikes = np.add(spikes, values[name], dtype=compact(self.payload), casting="unsafe")
        return spikes

    def sums(self, spikes: Array) -> Array:
        """Weighted sums (B, k, N) of added spikes (B, k, N)."""
        batch, steps, _ = spikes.shape
        if self.projection.op.injects:
            return spikes
        if not batch * steps:
            return np.zeros((batch, steps, prod(self.post)), np.float32)
        flat = spikes.reshape(batch * steps, -1)
        return (self._quick(flat) if self.quick else self._exact(flat)).reshape(batch, steps, -1)

    def _quick(self, spikes: Array) -> Array:
        """In 8-bit integers: positive and negative values apart, and of each every plane."""
        assert self.quick is not None
        count, bits = self.planes
        total: Array | None = None
        for sign in (1, -1) if self.payload[0] < 0 else (1,):
            values = np.maximum(sign * spikes.astype(np.int64), 0) if self.payload[0] < 0 else spikes
            for plane in range(count):
                x = values if count == 1 else values >> (bits * plane) & ((1 << bits) - 1)
                x = np.require(x, requirements=_OWN)
                y = self.quick(x.view(np.uint8) if x.dtype == np.int8 else x.astype(np.uint8, copy=False))
                if (factor := sign << (bits * plane)) != 1:
                    y *= factor
                total = y if total is None else np.add(total, y, out=total)
        assert total is not None
        return total

    def _exact(self, spikes: Array) -> Array:
        x = outer(torch.from_numpy(np.require(spikes, requirements=_OWN)).to(self.dtype).numpy(), self.pre)
        # Winograd kernels would round; oneDNN's direct ones do not, NNPACK may choose them
        with torch.backends.nnpack.flags(enabled=False):
            y = self.projection.op.product(self.weight, torch.from_numpy(x), self.post)
        return inner(y.numpy(), self.post)


class Inputs:
    """All that reaches one population, from some of its projections.

    Attributes:
        exponent: `sums` are times 2**exponent.
        bound: of the magnitude of `sums`.
    """

    def __init__(
        self, network: Network[IntNeuron], population: Population[IntNeuron], projections: Iterable[Projection]
    ) -> None:
        self.groups = grouped(network, population, projections)
        self.size = population.size
        alone = len(self.groups) == 1 and self.groups[0].exponent >= 0
        self.exponent = self.groups[0].exponent if alone else 0
        self.bound = sum(group.bound << max(group.exponent - self.exponent, 0) for group in self.groups)

    def sums(self, values: Mapping[str, Array], past: Mapping[str, Array], rows: slice = slice(None)) -> Array:
        """(B, k or 1, N) of some samples; arguments as of `Synapses.arriving`."""
        found = []
        for group in self.groups:
            own, before = ({name: x[name][rows] for name in group.pres if name in x} for x in (values, past))
            found.append((group.arriving(own, before), group.exponent - self.exponent))
        return added_up(found, self.bound, self.size)


def added_up(parts: Sequence[tuple[Array, int]], bound: int, size: int) -> Array:
    """Sum of arrays (B, k or 1, N), each times 2**exponent, floored: float32 where `bound` allows it, else int64."""
    if len(parts) == 1 and parts[0][1] == 0:
        return parts[0][0]
    total: Array = np.zeros((1, 1, size), np.float32)
    for x, exponent in parts:
        if bound < FLOAT32_EXACT and exponent >= 0 and x.dtype != np.float64:
            x = x * np.float32(1 << exponent) if exponent else x
        else:
            x = np.asarray(fixed.shifted(x.astype(np.int64), exponent))
        kind = np.float32 if bound < FLOAT32_EXACT else np.int64
        total = np.add(total, x, dtype=kind, casting="unsafe")
    return total


def compact(payload: tuple[int, int]) -> np.dtype[np.signedinteger | np.unsignedinteger]:
    """The smallest integer type that holds such values."""
    for kind in (np.int8, np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= payload[0] and payload[1] <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


def grouped(
    network: Network[IntNeuron], population: Population[IntNeuron], projections: Iterable[Projection]
) -> tuple[Synapses, ...]:
    """Some of the projections into a population, those that share operator and weights together."""
    found: dict[tuple[object, ...], list[Projection]] = {}
    for projection in projections:
        alone = projection.name if projection.weight_exp < 0 else ""
        key = (projection.op, projection.weight_exp, network[projection.pre].shape, projection.lag, alone)
        found.setdefault(key, []).append(projection)
    return tuple(_synapses(network, members) for members in found.values())


def _synapses(network: Network[IntNeuron], members: list[Projection]) -> Synapses:
    first = members[0]
    weights, pre, post = network.between(first)
    payloads = [network[p.pre].payload for p in members]
    lows, highs = zip(*payloads, strict=True)
    bound = first.op.magnitude(weights, sum(max(abs(low), abs(high)) for low, high in payloads), pre, post)
    plain = Synapses(
        pres=tuple(p.pre for p in members),
        projection=first,
        pre=pre,
        post=post,
        payload=(sum(lows), sum(highs)),
        exponent=first.weight_exp,
        bound=bound,
        dtype=_exact_type(first, bound),
    )
    if first.op.injects:
        return replace(plain, why="values enter as they are")
    plain = replace(plain, weight=first.op.tensor(weights, pre, post, plain.dtype))
    found = _of_bytes(plain, network.array(first.op))
    return replace(plain, why=found) if isinstance(found, str) else found


def _of_bytes(plain: Synapses, weights: Array) -> Synapses | str:
    """The same synapses as products of 8-bit integers, or why they are not used."""
    op, pre, post = plain.projection.op, plain.pre, plain.post
    if reason := switched_off() or onednn.missing():
        return reason
    if plain.bound >= FLOAT32_EXACT:
        return "sums beyond 24 bits"
    bits = next((n for n in range(9) if not (weights & ((1 << n) - 1)).any() and _in_a_byte(weights >> n)), None)
    if bits is None:
        return "weights beyond 8 bits"
    if isinstance(op, Dense) and weights.size < FEW:
        return "few synapses"
    if reason := onednn.unfit(op, weights, pre, post):
        return reason
    small, largest = (weights >> bits).astype(np.int8), max(-plain.payload[0], plain.payload[1])
    quick = onednn.packed(op, small, pre, post)
    found = replace(
        plain,
        quick=quick,
        planes=onednn.planes(small, largest),
        exponent=plain.exponent + bits,
        bound=plain.bound >> bits,
    )
    # a second guard: this machine's own product with these weights, where sums are largest
    extremes = np.tile(inner(_extremes(small, op, pre), pre), (TRIED, 1))
    x = (extremes * np.int64(largest)).astype(compact((0, largest)))[:, None]
    if not np.array_equal(found.sums(x) * np.float32(1 << bits), plain.sums(x)):
        return "this machine's product of 8-bit integers is not exact"
    return replace(found, weight=None)


def _in_a_byte(weights: Array) -> bool:
    return bool(weights.min(initial=0) >= -128 and weights.max(initial=0) <= 127)


def _extremes(weights: Array, op: Operator, pre: Shape) -> Array:
    """Where weights are positive, and where negative, of the outputs with the largest and smallest sums: (4, *pre)."""
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    found = []
    for sign in (1, -1):
        sums = np.maximum(sign * rows, 0).sum(axis=1)
        for row in (int(sums.argmax()), int(sums.argmin())):
            marks = sign * weights[row].astype(np.int64) > 0
            if isinstance(op, Dense):
                found.append(marks.reshape(pre))
                continue
            inputs = len(marks)
            first = row // (len(weights) // getattr(op, "groups", 1)) * inputs
            x = np.zeros(pre, bool)
            times = [-(-n // k) for n, k in zip(pre[1:], marks.shape[1:], strict=True)]
            x[first : first + inputs] = np.tile(marks, (1, *times))[(slice(None), *map(slice, pre[1:]))]
            found.append(x)
    return np.stack(found)


def _exact_type(projection: Projection, bound: int) -> torch.dtype:
    """The smallest float type in which every partial sum up to a bound is an exact integer."""
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
