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
    found: dict[tuple[int, int, str], int] = {}
    routes = np.stack([xa, ya, xb, yb, pairs.data], axis=1)
    ends, place = np.unique(routes[:, :4], axis=0, return_inverse=True)
    carried = np.bincount(place.ravel(), routes[:, 4], len(ends)).astype(np.int64)
    for (x, y, to_x, to_y), flits in zip(ends.tolist(), carried.tolist(), strict=True):
        for at in range(x, to_x, 1 if to_x > x else -1):
            key = at, y, "east" if to_x > x else "west"
            found[key] = found.get(key, 0) + flits
        for at in range(y, to_y, 1 if to_y > y else -1):
            key = to_x, at, "north" if to_y > y else "south"
            found[key] = found.get(key, 0) + flits
    return [Link(*key, flits) for key, flits in sorted(found.items())]
