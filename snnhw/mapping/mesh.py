"""Numbered cores onto chips and tiles: few messages between chips, then no busy links, then few hops."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from snnhw.machine import Machine
from snnhw.mapping.route import snake
from snnhw.network import Array
from snnhw.operators.base import Ints

TRIES = 30
"""Exchanges of two cores that are looked at, for each core."""

SCALE = 500.0
"""Units of the busiest link at the start; their fourth powers add up without rounding."""

MOST_TILES = 64
"""Tiles of a chip whose busiest link is relieved: the table of routes grows with their cube. Others keep the snake."""


def chip_of_core(traffic: Any, target: Machine) -> Ints:
    """Chip of each numbered core: as few chips as it takes, their borders where least is sent across.

    Cores stay in their order, chips stand in a line: a message crosses every border between its ends.

    Args:
        traffic: messages between cores, whole numbers, CSR (cores, cores).
    """
    cores, per_chip = traffic.shape[0], target.chip.cores_usable
    chips = -(-cores // per_chip)
    if chips == 1:
        return np.zeros(cores, np.int64)
    pairs = traffic.tocoo()
    ahead, behind = (np.bincount(end(pairs.row, pairs.col), pairs.data, cores) for end in (np.minimum, np.maximum))
    across = np.concatenate([[0.0], np.cumsum(ahead - behind)])  # sent across a border in front of core i
    reached, least = [np.array([0])], np.zeros(1)
    cameto: list[Ints] = []
    for chip in range(1, chips + 1):
        ends = np.arange(max(chip, cores - (chips - chip) * per_chip), min(cores, chip * per_chip) + 1)
        length = ends[:, None] - reached[-1]
        cost = np.where((length > 0) & (length <= per_chip), least, np.inf)
        cameto.append(cost.argmin(axis=1))
        least = cost.min(axis=1) + across[ends] * (chip < chips)
        reached.append(ends)
    at, borders = int(np.flatnonzero(reached[-1] == cores)[0]), [cores]
    for chip in range(chips, 0, -1):
        at = int(cameto[chip - 1][at])
        borders.append(int(reached[chip - 1][at]))
    return np.repeat(np.arange(chips), np.diff(borders[::-1]))


def on_mesh(traffic: Any, chips: Ints, target: Machine) -> Ints:
    """Global core number of each numbered core: along a snake, then cores change places where that relieves links.

    Args:
        traffic: messages between cores, whole numbers, CSR (cores, cores).
        chips: chip of each core, in ascending order.
    """
    places = snake(target)
    borders = np.searchsorted(chips, np.arange(int(chips.max()) + 2)).tolist()
    parts = (
        chip * target.chip.cores + relieved(traffic[first:end, first:end], places, target)
        for chip, (first, end) in enumerate(pairwise(borders))
    )
    return np.concatenate(list(parts))


def relieved(traffic: Any, places: Ints, target: Machine) -> Ints:
    """A place on the chip for each core: the first ones of `places`, so that no further tile is in use.

    Exchanges are tried in a fixed order, and what helps is kept.

    Args:
        traffic: messages between the cores of a chip, whole numbers, sparse (cores, cores).
    """
    count, per_tile, traffic = traffic.shape[0], target.chip.cores_per_tile, traffic.tocoo()
    spots = places[:count].copy()
    if target.chip.mesh[0] * target.chip.mesh[1] > MOST_TILES:
        return spots
    first = _loads(traffic, spots, target)[0].max()
    unit = first / SCALE if first else 1.0
    best = _cost(traffic, spots, target, unit)
    for a, b in np.random.default_rng(0).integers(0, count, (TRIES * count, 2)):
        if spots[a] // per_tile == spots[b] // per_tile:
            continue
        spots[[a, b]] = spots[[b, a]]
        cost = _cost(traffic, spots, target, unit)
        if cost < best:
            best = cost
        else:
            spots[[a, b]] = spots[[b, a]]
    return spots


def _cost(traffic: Any, spots: Ints, target: Machine, unit: float) -> tuple[float, float]:
    """(fourth powers of the messages over every link, hops): the busiest links count most, and all of them count, as
    what waits for one link stops others behind it. In whole units, whose sums are the same in any order."""
    loads, hops = _loads(traffic, spots, target)
    squares = np.square(np.rint(loads / unit))
    return float(squares @ squares), hops


def _loads(traffic: Any, spots: Ints, target: Machine) -> tuple[Array, float]:
    """(messages over every link, hops), of messages in COO."""
    tiles = target.chip.mesh[0] * target.chip.mesh[1]
    tile = spots // target.chip.cores_per_tile
    between = np.bincount(tile[traffic.row] * tiles + tile[traffic.col], traffic.data, tiles * tiles)
    links, hops = _links(target.chip.mesh)
    return between @ links, float(between @ hops)


@cache
def _links(mesh: tuple[int, int]) -> tuple[Array, Array]:
    """(links of the XY route between two tiles, (tiles * tiles, links); its hops)."""
    width, height = mesh
    tiles = width * height
    found = np.zeros((tiles, tiles, 4, tiles), bool)
    for a in range(tiles):
        for b in range(tiles):
            (xa, ya), (xb, yb) = divmod(a, height), divmod(b, height)
            for x in range(xa, xb, 1 if xb > xa else -1):
                found[a, b, 0 if xb > xa else 1, x * height + ya] = True
            for y in range(ya, yb, 1 if yb > ya else -1):
                found[a, b, 2 if yb > ya else 3, xb * height + y] = True
    flat = found.reshape(tiles * tiles, -1).astype(np.float64)
    return flat, flat.sum(axis=1)
