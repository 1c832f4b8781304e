"""Where a core lies on the mesh, and the XY route between two cores. Chips stand in a line, west to east."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from snnhw.machine import Machine

Ints = NDArray[np.int64]


def tile(core: Ints | int, target: Machine) -> tuple[Ints, Ints]:
    """Mesh coordinates (x, y) of the tile of a core; x runs on over the chips.

    Args:
        core: global core number(s): chip = core // chip.cores, tile = rest // chip.cores_per_tile.

    Tiles are numbered column by column (x = tile // height), as SANA-FE numbers them.
    """
    width, height = target.chip.mesh
    number = np.asarray(core, np.int64)
    chip, local = np.divmod(number, target.chip.cores)
    x, y = np.divmod(local // target.chip.cores_per_tile, height)
    return chip * width + x, y


def hops_between(a: Ints | int, b: Ints | int, target: Machine) -> tuple[Ints, Ints, Ints]:
    """(east-west hops, north-south hops, chip borders crossed) of XY routes; the arguments broadcast.

    Cores of one tile are 0 hops apart. A chip border is crossed by an east-west hop, which counts as both.
    """
    (xa, ya), (xb, yb) = tile(a, target), tile(b, target)
    width = target.chip.mesh[0]
    return np.abs(xa - xb), np.abs(ya - yb), np.abs(xa // width - xb // width)


def hops(core_a: int, core_b: int, target: Machine) -> tuple[int, int, int]:
    """`hops_between` for two cores, as plain integers."""
    ew, ns, chips = hops_between(core_a, core_b, target)
    return int(ew), int(ns), int(chips)


def snake(target: Machine) -> Ints:
    """Cores of one chip in placement order: along the columns of tiles, up and down in turn.

    Neighbours in this order are in the same tile or one hop apart. The list ends after `chip.cores_usable` cores.
    """
    width, height = target.chip.mesh
    per_tile, cores = target.chip.cores_per_tile, target.chip.cores
    columns = np.arange(width * height).reshape(width, height)
    columns[1::2] = columns[1::2, ::-1]
    order = (columns.ravel()[:, None] * per_tile + np.arange(per_tile)).ravel()
    return order[order < cores][: target.chip.cores_usable].astype(np.int64)
