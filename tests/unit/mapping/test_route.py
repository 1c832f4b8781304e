"""Mesh coordinates and XY routes."""

from __future__ import annotations

import numpy as np
import pytest

from snnhw.machine import available, load_target
from snnhw.mapping.route import hops, hops_between, snake, tile
from tests.unit.mapping.toys import one_core


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (0, 3, (0, 0, 0)),  # one tile
        (0, 4, (0, 1, 0)),  # the tile north of it
        (0, 16, (1, 0, 0)),  # the next column
        (0, 127, (7, 3, 0)),  # corner to corner
        (112, 128, (1, 0, 1)),  # the last column to the next chip's first
        (0, 3 * 128 + 5, (24, 1, 3)),
    ],
)
def test_hops(a: int, b: int, expected: tuple[int, int, int]) -> None:
    chip = load_target("loihi1")
    assert hops(a, b, chip) == hops(b, a, chip) == expected


def test_arrays_give_the_same_hops() -> None:
    chip, rng = load_target("loihi2"), np.random.default_rng(0)
    a, b = rng.integers(0, 600, (2, 50))
    together = np.stack(hops_between(a, b, chip), axis=1)
    assert together.tolist() == [list(hops(int(i), int(j), chip)) for i, j in zip(a, b, strict=True)]


@pytest.mark.parametrize("name", available())
def test_the_snake_visits_every_usable_core_once_in_single_hops(name: str) -> None:
    chip = load_target(name)
    order = snake(chip)
    assert len(set(order.tolist())) == len(order) == chip.chip.cores_usable
    x, y = tile(order, chip)
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y))).max() == 1
    assert x.max() < 8
    assert y.max() < 4


def test_one_core() -> None:
    assert snake(one_core()).tolist() == [0]
