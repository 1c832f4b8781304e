"""What the links between routers carry: flits of every message along its XY route, and for how long that keeps them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnhw.chip.tally import Tally
from snnhw.machine import Machine
from snnhw.mapping.route import tile
from snnhw.network import Array

WAYS = ("east", "west", "north", "south")


class Link(NamedTuple):
    """The link that leaves router (x, y) to `way`, and the flits over it in a run."""

    x: int
    y: int
    way: str
    flits: int


def links(total: Tally, cores: Array, target: Machine) -> list[Link]:
    """Links in use, by router; x runs on over the chips. `y` grows to the north, as in `event.mesh_of`.

    Args:
        cores: global numbers of the cores that `total.flits` is indexed by.
    """
    pairs = total.flits.tocoo()
    (xa, ya), (xb, yb) = tile(cores[pairs.row], target), tile(cores[pairs.col], target)
    size = 1 + int(max(xa.max(initial=0), xb.max(initial=0))), target.chip.mesh[1]
    east, west = _passed(xa, xb, ya, pairs.data, size)
    north, south = (way.T for way in _passed(ya, yb, xb, pairs.data, size[::-1]))
    carried = {"east": east, "north": north, "south": south, "west": west}
    return [
        Link(x, y, way, int(flits[x, y]))
        for x, y in np.argwhere(sum(carried.values()) > 0).tolist()
        for way, flits in carried.items()
        if flits[x, y]
    ]


def _passed(start: Array, end: Array, line: Array, flits: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Flits that leave every router of parallel lines, up and down them: routes add where they begin, and take away
    where they end.

    Args:
        start, end, line: of each route its first and last place on its line.
        size: places on a line, and lines.
    """
    found = []
    for first, last, on in ((start, end, end > start), (end + 1, start + 1, end < start)):
        change = np.zeros((size[0] + 1, size[1]), np.int64)
        np.add.at(change, (first[on], line[on]), flits[on])
        np.subtract.at(change, (last[on], line[on]), flits[on])
        found.append(change.cumsum(axis=0)[:-1])
    return found[0], found[1]
