"""The integer network in float64, in the order of `fixed.step`, so that single integers can be real numbers again.

Whole numbers below 2**53 are exact in float64 whatever the order of a sum: without any change these runs are those of
the engines, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw import fixed
from snnhw.evaluate import arrived, late
from snnhw.network import Array, IntNeuron, Kind, Network, Population, Projection

EQUAL = 1e-6
"""By so much a membrane may be below a threshold that `>=` compares it with: whole numbers are exact, sums of reals
nearly."""

UNBOUNDED = fixed.Width(62, fixed.SATURATE, -(1 << 61), 1 << 61)
"""A state that never leaves its range."""


class Reals(np.ndarray[Any, Any]):
    """float64 numbers that shift as integers do: by a power of two, to the right rounded down."""

    __array_priority__ = 1.0

    def __lshift__(self, n: Any) -> Any:
        return self * 2.0**n

    def __rshift__(self, n: Any) -> Any:
        return np.floor(self * 2.0**-n)


class Unrounded(Reals):
    """The same without rounding down."""

    __array_priority__ = 2.0

    def __rshift__(self, n: Any) -> Any:
        return self * 2.0**-n


@dataclass(frozen=True)
class Variant:
    """The integer network with some parameters as reals.

    Args:
        network: parameters and weights are integers or reals.
        touched: populations that do something else than in the integer network.
        unrounded: populations whose decays, and weight arrays whose shifted sums, are not rounded down.
        unbounded: populations whose states have no ends.
        inputs: values of input populations that stand for the integers.
    """

    network: Network[IntNeuron]
    touched: frozenset[str] = frozenset()
    unrounded: frozenset[str] = frozenset()
    unbounded: frozenset[str] = frozenset()
    inputs: Mapping[str, Array] | None = None


Values = dict[str, Array]
"""Spikes (B, T, *shape) by population, and `v/NAME`, the membranes of the population that is read."""


def run(variant: Variant, widths: fixed.Widths, inputs: Mapping[str, Array], known: Values | None = None) -> Values:
    """Spikes of all populations, and the membranes of the one that is read.

    Args:
        inputs: integer values of the input populations, (B, T, *shape).
        known: those of the integer network itself: what the touched populations do not reach is taken from there.
    """
    network, found = variant.network, Values()
    given = {**inputs, **(variant.inputs or {})}
    moved = set(variant.inputs or {})
    for names in network.components:
        reads = {q.pre for name in names for q in network.into(name)}
        if known is not None and not moved & reads and not variant.touched & set(names) and not moved & set(names):
            found |= {key: known[key] for name in names for key in (name, f"v/{name}") if key in known}
        elif network[names[0]].kind is Kind.INPUT:
            found[names[0]] = given[names[0]]
        else:
            found |= _together(variant, names, widths, found, next(iter(given.values())).shape[:2])
            moved |= {name for name in names if known is None or not np.array_equal(found[name], known[name])}
    return found


def _together(
    variant: Variant, names: tuple[str, ...], widths: fixed.Widths, values: Values, size: tuple[int, ...]
) -> Values:
    """Populations of one loop, or a single one, step by step."""
    network = variant.network
    cells = {name: _Cells(variant, network[name], widths, size[0]) for name in names}
    read = f"v/{network.readout.population}"
    found = {name: np.zeros((*size, *network[name].shape)) for name in names}
    found |= {read: np.zeros_like(found[network.readout.population])} if network.readout.population in names else {}
    outside = {name: _outside(variant, network[name], names, values, size) for name in names}
    for t in range(size[1]):
        for name in names:
            total: Array = outside[name][:, t]
            for q in network.into(name):
                if q.pre in found and t >= q.lag:
                    total = total + _sent(variant, q, found[q.pre][:, t - q.lag, None], network[name])[:, 0]
            found[name][:, t], v = cells[name].step(total)
            if name == network.readout.population:
                found[read][:, t] = v
    return found


def _outside(
    variant: Variant, post: Population[IntNeuron], loop: tuple[str, ...], values: Values, size: tuple[int, ...]
) -> Array:
    """Summed input (B, T, *shape) from populations before the loop."""
    total: Array = np.zeros((*size, *post.shape))
    for q in variant.network.into(post.name):
        if q.pre not in loop:
            total = total + _sent(variant, q, late(values[q.pre], q.lag), post)
    return total


def _sent(variant: Variant, q: Projection, pre: Array, post: Population[IntNeuron]) -> Array:
    """What one projection sends, its exponent applied to the sum."""
    folded = pre if pre.dtype == np.float64 else pre.astype(np.float64) if pre.strides[1] else _static(pre)
    total = arrived(q.op, variant.network, folded, post)
    kind = Unrounded if not q.op.injects and q.op.weight in variant.unrounded else Reals
    return np.asarray(fixed.shifted(total.view(kind), q.weight_exp))


def _static(pre: Array) -> Array:
    return np.broadcast_to(pre[:, :1].astype(np.float64), pre.shape)


class _Cells:
    """States of one population on some samples."""

    def __init__(self, variant: Variant, population: Population[IntNeuron], widths: fixed.Widths, batch: int) -> None:
        n, name = population.model, population.name
        self.neuron, self.kind = n, Unrounded if name in variant.unrounded else Reals
        if name in variant.unbounded:
            widths = widths._replace(u=UNBOUNDED, v=UNBOUNDED)
        rule = n.rule(population.kind is not Kind.ACCUMULATOR, widths)
        self.rule = rule._replace(greater_equal=EQUAL) if rule.greater_equal else rule  # type: ignore[arg-type]
        self.parameters = tuple(np.asarray(x, np.float64).view(self.kind) for x in n.parameters.values())
        shape = (batch, *population.shape)
        self.state = tuple(np.broadcast_to(np.asarray(x, np.float64), shape) for x in (*n.initial.values(), 0))

    def step(self, a: Array) -> tuple[Array, Array]:
        """Spikes and membranes of one step."""
        state = tuple(x.view(self.kind) for x in self.state)
        found, _ = self.neuron.step(state, a.view(self.kind), self.parameters, self.rule)
        self.state = tuple(np.asarray(x, np.float64) for x in found)
        return self.state[-1], self.state[1]


def outputs(network: Network[IntNeuron], found: Values) -> Array:
    """What is read at every step, (B, T, outputs...), in the integers' units."""
    readout = network.readout
    if readout.kind in ("rate", "first"):
        return found[readout.population]
    v = found[f"v/{readout.population}"]
    if readout.kind == "membrane":
        return v
    start = np.broadcast_to(np.asarray(network[readout.population].model.v_init, np.float64), v[:, 0].shape)
    return np.diff(v, axis=1, prepend=start[:, None])


def chunks(total: int, size: int) -> Iterator[slice]:
    """Samples in turn."""
    return (slice(first, min(first + size, total)) for first in range(0, total, size))
