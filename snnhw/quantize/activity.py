"""Float activity on calibration samples, population by population, held no longer than quantisation needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from snnhw.encoding import real_inputs
from snnhw.errors import DataError
from snnhw.evaluate import evaluate
from snnhw.network import Array, FloatNeuron, Network

CALIBRATION_SAMPLES = 64
"""Samples that scales and rounding look at, and as many that are kept apart to judge them by; more change little."""

KEPT_APART = 4
"""Of so many samples one is kept apart."""

HELD_VALUES = 1 << 30
"""Most float32 values of activity held at once; networks with more at 64 samples are calibrated on fewer."""


def calibration_samples(network: Network[FloatNeuron]) -> int:
    """How many samples are used: 64, or as many as keep the populations still to be read within HELD_VALUES."""
    born = {name: i for i, names in enumerate(network.components) for name in names}
    end = _last_readers(network, born)
    held = max(
        sum(p.size for p in network.populations if born[p.name] <= place <= end[p.name])
        for place in range(len(network.components))
    )
    return max(1, min(CALIBRATION_SAMPLES, HELD_VALUES // max(held * network.steps, 1)))


def _last_readers(network: Network[FloatNeuron], place: Mapping[str, int]) -> dict[str, int]:
    """Population name -> place of the last population that reads it, or its own where that is later."""
    return {name: max([own, *(place[q.post] for q in network.out_of(name))]) for name, own in place.items()}


@dataclass(frozen=True)
class Split:
    """Which calibration samples are used, and which are kept apart to judge the result by; indices."""

    used: Array
    apart: Array


def split(real: Array, labels: Array | None, most: int) -> Split:
    """At most `most` samples each, chosen by their content, so that the order of a file does not matter.

    Args:
        real: real input (B, T, *input shape).
        labels: (B,): classes are then used in proportion.

    Raises:
        DataError: there are no samples, or not as many labels.
    """
    if not len(real):
        limit = f"got {real.shape}"
        raise DataError("bad-shape", "there are no calibration samples", where="calibrate", needed="some", limit=limit)
    if labels is not None and (labels.shape != (len(real),) or labels.dtype.kind not in "iub"):
        raise DataError(
            "bad-labels",
            "labels do not fit the calibration samples",
            where="labels",
            needed=f"({len(real)},) whole numbers",
            limit=f"got {labels.shape}, {labels.dtype}",
        )
    values = real[:, 0] if real.strides[1] == 0 else real
    keys = [hashlib.blake2b(np.ascontiguousarray(x, np.float32).tobytes(), digest_size=8).digest() for x in values]
    order = np.asarray(sorted(range(len(keys)), key=keys.__getitem__))
    if labels is not None:
        place = np.empty(len(order))  # within its class, in parts of it
        for members in (order[labels[order] == label] for label in np.unique(labels)):
            place[members] = (np.arange(len(members)) + 0.5) / len(members)
        order = order[np.argsort(place[order], kind="stable")]
    apart = min(most, len(order) // KEPT_APART)
    used = min(most, len(order) - apart)
    return Split(order[:used], order[used : used + apart])


class Activity(Mapping[str, Array]):
    """Values (B, T, *shape), float32, of the population reached last, of those in a loop with it, and of those that
    later ones read.

    float32 is enough to choose scales.
    """

    def __init__(self, network: Network[FloatNeuron], samples: Array) -> None:
        """Args: samples: real input (B, T, *input shape)."""
        part, static = samples, samples.strides[1] == 0
        x = np.broadcast_to(part[:, :1].astype(np.float32), part.shape) if static else part.astype(np.float32)
        self._walk = evaluate(network, real_inputs(network, x))
        self._place = {population.name: i for i, population in enumerate(network.populations)}
        self._last = _last_readers(network, self._place)
        self._loop = {name: names for names in network.components for name in names}
        self._held: dict[str, Array] = {}
        self._seen: set[str] = set()

    def advance(self, name: str) -> None:
        """Compute up to a population; they are asked for in the network's order."""
        for name_before in [other for other in self._held if self._last[other] < self._place[name]]:
            del self._held[name_before]
        while not self._seen.issuperset(self._loop[name]):
            reached, values = next(self._walk)
            self._held[reached] = values
            self._seen.add(reached)

    def __getitem__(self, name: str) -> Array:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
