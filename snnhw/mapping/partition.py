"""Cut populations into boxes so that every box fits one core, and works no longer than it may.

Deterministic, and only ever cuts finer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.mapping.load import Work
from snnhw.mapping.resources import limits, uses
from snnhw.network import Array, IntNeuron, Network, Population, Shape
from snnhw.operators.base import Ints

SPATIAL = (1, 0, 2)
"""Order in which a (C, H, W) population is cut: rows (low fan-out), then channels, then columns."""

WORTH = 0.5
"""A cut along an axis is taken at once when it brings at least this part of the relief it could bring."""

LEAST = 0.1
"""A cut that brings less than this part of the relief of work it could bring is no help."""


@dataclass(frozen=True)
class Failure:
    """A population whose slices cannot be cut until a resource fits; `needed` is the least it came down to."""

    population: str
    resource: str
    needed: int
    limit: int


@dataclass
class Partition:
    """Boxes of every population, cut finer until they fit.

    Args:
        work: what slices work; None where nobody asks.
        cap: most picoseconds that a slice may generate or receive over the load's steps; None for any.
    """

    network: Network[IntNeuron]
    target: Machine
    work: Work | None = None
    cap: float | None = None
    parts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    boxes: dict[str, Ints] = field(default_factory=dict)
    needs: dict[str, dict[str, Ints]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for population in self.network.populations:
            self.parts.setdefault(population.name, tuple(1 for _ in population.shape))
            self.boxes.setdefault(population.name, whole(population.shape))

    def finer(self, cap: float) -> Partition:
        """This cut, cut finer until no slice works longer than `cap` or nothing helps."""
        copies = {key: dict(getattr(self, key)) for key in ("parts", "boxes", "needs", "failures")}
        return _settled(replace(self, cap=cap, **copies))  # type: ignore[arg-type]

    def work_of(self, population: str) -> tuple[Array, Array]:
        """(generation, reception) of the slices of a population; zeros where nobody asks."""
        if self.work is None:
            none = np.zeros(len(self.boxes[population]))
            return none, none
        key = ("work", *self._around(population))
        if key not in self.known:
            self.known[key] = self.work.of(population, self.boxes)
        work: tuple[Array, Array] = self.known[key]
        return work

    def needs_of(self, population: str) -> dict[str, Ints]:
        """What the slices of a population take."""
        key = ("needs", *self._around(population))
        if key not in self.known:
            self.known[key] = uses(population, self.network, self.target, self.boxes)
        needs: dict[str, Ints] = self.known[key]
        return needs

    def _around(self, population: str) -> tuple[Any, ...]:
        """How a population and its neighbours are cut, on which all that its slices take and do depends."""
        into, out_of = self.network.into(population), self.network.out_of(population)
        return population, *(
            self.parts[name] for name in (population, *(q.pre for q in into), *(q.post for q in out_of))
        )

    def set(self, population: Population[Any], parts: tuple[int, ...]) -> dict[str, Ints]:
        """Cut a population and return what its slices need."""
        self.cut(population, parts)
        return self.needs_of(population.name)

    def cut(self, population: Population[Any], parts: tuple[int, ...]) -> None:
        """Cut a population."""
        self.parts[population.name] = parts
        self.boxes[population.name] = grid(population.shape, parts, axes(population.shape))


def whole(shape: Shape) -> Ints:
    """The one box that holds a population."""
    return np.array([[(0, n) for n in shape]], np.int64)


def grid(shape: Shape, parts: tuple[int, ...], order: tuple[int, ...]) -> Ints:
    """Boxes of near-equal size, `parts` along each axis; the first axis of `order` varies slowest."""
    edges = [np.arange(p + 1, dtype=np.int64) * n // p for n, p in zip(shape, parts, strict=True)]
    index = np.indices([parts[axis] for axis in order]).reshape(len(order), -1)
    boxes = np.empty((index.shape[1], len(shape), 2), np.int64)
    for position, axis in enumerate(order):
        boxes[:, axis, 0] = edges[axis][index[position]]
        boxes[:, axis, 1] = edges[axis][index[position] + 1]
    return boxes


def axes(shape: Shape) -> tuple[int, ...]:
    """Axes in the order in which they are cut."""
    return SPATIAL if len(shape) == 3 else tuple(range(len(shape)))


def partition(network: Network[IntNeuron], target: Machine, work: Work | None = None) -> Partition:
    """The coarsest cut that fits.

    Populations that fit no core are listed in `failures` and stay as they were cut last.
    """
    return _settled(Partition(network, target, work))


def _settled(result: Partition) -> Partition:
    """Cut consumers before producers (out-axons follow from the consumers' slices), until nothing changes.

    A feed-forward network settles in the first round unless cutting producers breaks shared in-axons; recurrent
    networks take more. Every round only cuts finer, so the rounds end.
    """
    changed = True
    while changed:
        before = dict(result.parts)
        for population in reversed(result.network.computed):
            _fit(population, result)
            _relieve(population, result)
        changed = before != result.parts
    for population in result.network.computed:
        result.needs[population.name] = result.needs_of(population.name)
    return result


def _relieve(population: Population[IntNeuron], result: Partition) -> None:
    """Cut one population until its slices work no longer than they may, by the axis that adds least to messages."""
    name, work, cap = population.name, result.work, result.cap
    if work is None or cap is None:
        return
    while (worst := _worst(name, result)) > cap:
        start = result.parts[name]
        choices: list[tuple[float, tuple[int, ...]]] = []
        messages = _arriving(name, result)
        for axis in axes(population.shape):
            size = -(-population.shape[axis] // start[axis])
            if size == 1:
                continue
            smaller = min(size - 1, max(-(-size // 2), int(size * cap / worst), 1))
            parts = (*start[:axis], -(-population.shape[axis] // smaller), *start[axis + 1 :])
            result.cut(population, parts)
            relief = np.log(worst / max(_worst(name, result), 1.0))
            if relief > LEAST * np.log(parts[axis] / start[axis]):
                choices.append(((_arriving(name, result) - messages) / relief, parts))
        result.cut(population, min(choices)[1] if choices else start)
        if not choices:
            return


def _worst(name: str, result: Partition) -> float:
    return float(max(side.max() for side in result.work_of(name)))


def _arriving(name: str, result: Partition) -> float:
    """Messages into a population over the load's steps."""
    assert result.work is not None
    sent = (q for q in result.network.into(name) if not q.op.injects)
    return float(sum(result.work.traffic(q, result.boxes[name])[0].sum() for q in sent))


def _fit(population: Population[IntNeuron], result: Partition) -> None:
    """Cut one population until its slices fit, or note the resource that no cut relieves."""
    name, allowed = population.name, limits(result.target)
    if name in result.failures:
        return
    while True:
        needs = result.set(population, result.parts[name])
        ratios = {key: int(needs[key].max()) / limit for key, limit in allowed.items()}
        worst = max(ratios, key=lambda key: ratios[key], default=None)
        if worst is None or ratios[worst] <= 1:
            return
        finer = _finer(population, result, worst, int(needs[worst].max()), allowed[worst])
        if finer is None:
            result.failures[name] = Failure(name, worst, int(needs[worst].max()), allowed[worst])
            return
        result.parts[name] = finer


def _finer(
    population: Population[IntNeuron], result: Partition, resource: str, needed: int, limit: int
) -> tuple[int, ...] | None:
    """The next finer cut: the first axis whose cut pays, else the best one; None when no axis relieves."""
    shape, start = population.shape, result.parts[population.name]
    best, least = None, needed
    for axis in axes(shape):
        size = -(-shape[axis] // start[axis])
        if size == 1:
            continue
        smaller = max(1, min(size - 1, int(size * limit / needed)))
        now, candidate = _try(population, result, resource, axis, smaller)
        if needed - now >= WORTH * needed * (1 - start[axis] / candidate[axis]):
            return candidate
        if now < least:
            best, least = candidate, now
    return best or _longer(population, result, resource, needed, start)


def _longer(
    population: Population[IntNeuron], result: Partition, resource: str, needed: int, start: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The smallest cut along one axis that relieves at all (needs come in steps: whole words, halos); by bisection."""
    for axis in axes(population.shape):
        result.set(population, start)
        low, high = 0, -(-population.shape[axis] // start[axis])  # size `low` relieves, size `high` does not
        if high > 1 and _try(population, result, resource, axis, 1)[0] < needed:
            low = 1
            while high - low > 1:
                middle = (low + high) // 2
                relieved = _try(population, result, resource, axis, middle)[0] < needed
                low, high = (middle, high) if relieved else (low, middle)
            return _try(population, result, resource, axis, low)[1]
    result.set(population, start)
    return None


def _try(
    population: Population[IntNeuron], result: Partition, resource: str, axis: int, size: int
) -> tuple[int, tuple[int, ...]]:
    """Cut one axis so that no slice is longer than `size`: (what the worst slice then needs, the parts)."""
    start = result.parts[population.name]
    parts = (*start[:axis], -(-population.shape[axis] // size), *start[axis + 1 :])
    needs = result.set(population, parts)
    result.parts[population.name] = start
    return int(needs[resource].max()), parts
