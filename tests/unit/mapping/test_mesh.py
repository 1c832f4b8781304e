"""Chips where least is sent across, and tiles where no link is busy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import coo_matrix, csr_matrix

from snnhw.machine import load_target
from snnhw.mapping.mesh import SCALE, _cost, _loads, chip_of_core, on_mesh, relieved
from snnhw.mapping.route import hops, snake
from tests.unit.mapping.toys import toy


def crossings(traffic: np.ndarray, chips: np.ndarray) -> float:
    return float((traffic * np.abs(chips[:, None] - chips)).sum())


@pytest.mark.parametrize("seed", range(6))
def test_borders_are_where_least_is_sent_across(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip = toy("generic", chip__cores_usable=4)
    cores = int(rng.integers(5, 12))
    traffic = rng.integers(0, 9, (cores, cores)).astype(float)
    chips = chip_of_core(csr_matrix(traffic), chip)
    needed = -(-cores // 4)
    assert np.bincount(chips, minlength=needed).max() <= 4
    assert (np.diff(chips) >= 0).all()
    possible = []
    for cut in combinations(range(1, cores), needed - 1):
        other = np.searchsorted(cut, np.arange(cores), side="right")
        if np.bincount(other, minlength=needed).max() <= 4:
            possible.append(crossings(traffic, other))
    assert crossings(traffic, chips) == min(possible)


def test_a_layer_that_fits_a_chip_does_not_straddle_two() -> None:
    """Six cores on chips of four: cores 1 to 4 talk to each other only, 0 and 5 to nobody."""
    traffic = np.zeros((6, 6))
    traffic[2:6, 2:6] = 1
    assert chip_of_core(csr_matrix(traffic), toy("generic", chip__cores_usable=4)).tolist() == [0, 0, 1, 1, 1, 1]


def test_exchanges_relieve_the_busiest_link() -> None:
    rng, chip = np.random.default_rng(0), load_target("loihi2")
    traffic = np.zeros((60, 60))
    traffic[rng.integers(0, 60, 200), rng.integers(0, 60, 200)] = rng.integers(1, 100, 200)
    start = snake(chip)
    spots = relieved(csr_matrix(traffic), start, chip)
    assert len(set(spots.tolist())) == 60
    assert set(spots.tolist()) <= set(start.tolist())
    unit = _loads(coo_matrix(traffic), start[:60], chip)[0].max() / SCALE
    before, after = _cost(coo_matrix(traffic), start[:60], chip, unit), _cost(coo_matrix(traffic), spots, chip, unit)
    assert after[0] < 0.8 * before[0]
    walked = sum(traffic[a, b] * sum(hops(int(spots[a]), int(spots[b]), chip)[:2]) for a, b in np.ndindex(60, 60))
    assert after[1] == walked


def test_cores_keep_to_their_chips() -> None:
    chip = load_target("loihi2")
    chips = np.repeat([0, 1], 100)
    cores = on_mesh(csr_matrix(np.ones((200, 200))), chips, chip)
    assert (cores // chip.chip.cores == chips).all()
    assert len(set(cores.tolist())) == 200
