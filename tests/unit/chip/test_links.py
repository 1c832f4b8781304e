"""Links carry what walking every route by hand finds, also across chips."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from snnhw.chip.links import links
from snnhw.machine import load_target
from snnhw.mapping.route import tile


def walked(pairs: Any, cores: np.ndarray, chip: Any) -> Counter[tuple[int, int, str]]:
    found: Counter[tuple[int, int, str]] = Counter()
    for a, b, flits in zip(pairs.row, pairs.col, pairs.data, strict=True):
        (x, y), (to_x, to_y) = (tuple(int(axis) for axis in tile(cores[end], chip)) for end in (a, b))
        while (x, y) != (to_x, to_y):
            if x != to_x:
                step, way = (1, 0), "east"
                if to_x < x:
                    step, way = (-1, 0), "west"
            else:
                step, way = ((0, 1), "north") if to_y > y else ((0, -1), "south")
            found[x, y, way] += int(flits)
            x, y = x + step[0], y + step[1]
    return found


def test_links_carry_every_route() -> None:
    rng, chip = np.random.default_rng(0), load_target("loihi2")
    for count in (1, 5, 60):
        cores = np.sort(rng.choice(3 * chip.chip.cores, count, replace=False))
        traffic = rng.integers(0, 9, (count, count)) * (rng.random((count, count)) < 0.3)
        flits = csr_matrix(traffic)
        found = links(SimpleNamespace(flits=flits), cores, chip)  # type: ignore[arg-type]
        assert {(link.x, link.y, link.way): link.flits for link in found} == walked(flits.tocoo(), cores, chip)
        assert list(found) == sorted(found)
