"""What a population did, written by its process model in windows of whole samples.

A window is one file, renamed into place when complete: the parent may read and delete it while Lava runs on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snnhw.engines.lava.report import FOLDER
from snnhw.network import Array, Shape


def window_file(folder: Path, index: int, window: int) -> Path:
    """File of one window of the population with this index."""
    return folder / f"record.{index}.{window}.npz"


class Recorder:
    """Keeps one window in memory (Lava's Var.get costs 15 us per element, its Monitors more).

    Args of `place`: index of the population, start step, steps of a window, steps of the whole record.
    """

    def __init__(self, place: Mapping[str, int], shape: Shape, states: Sequence[str] = ("u", "v")) -> None:
        self.place = place
        self.folder = Path(os.environ[FOLDER])
        self.arrays = {part: np.zeros((place["window"], *shape), np.int32) for part in ("spikes", *states)}
        self.counts = np.zeros(len(states), np.int64)

    def write(self, time_step: int, values: Mapping[str, Any], *overflows: int) -> None:
        """One step of the population; Lava's `time_step` starts at 1, chip steps at 0."""
        step = time_step - 1 - self.place["start"]
        if not 0 <= step < self.place["steps"]:
            return
        window, at = divmod(step, self.place["window"])
        for part, kept in self.arrays.items():
            kept[at] = values[part]
        self.counts += overflows
        if at + 1 == self.place["window"] or step + 1 == self.place["steps"]:
            self._finish(window, at + 1)

    def _finish(self, window: int, filled: int) -> None:
        path = window_file(self.folder, self.place["index"], window)
        draft = path.with_suffix(".tmp")
        content: dict[str, Any] = {part: kept[:filled] for part, kept in self.arrays.items()}
        with draft.open("wb") as file:
            np.savez(file, counts=self.counts, **content)
        draft.rename(path)
        self.counts[:] = 0


def read_window(folder: Path, index: int, window: int) -> dict[str, Array] | None:
    """Read and delete one window: spikes, u, v as (steps, *Lava shape) and counts; None when it is not there yet."""
    path = window_file(folder, index, window)
    if not path.exists():
        return None
    with np.load(path) as data:
        found = {key: data[key] for key in data.files}
    path.unlink()
    return found
