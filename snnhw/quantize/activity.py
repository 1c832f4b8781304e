"""Float activity on calibration samples, population by population, held no longer than quantisation needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnhw.encoding import real_inputs
from snnhw.evaluate import evaluate
from snnhw.network import Array, FloatNeuron, Network

CALIBRATION_SAMPLES = 64
"""Samples that scales and rounding look at; more change little and cost time."""

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


class Activity(Mapping[str, Array]):
    """Values (B, T, *shape), float32, of the population reached last, of those in a loop with it, and of those that
    later ones read.

    float32 is enough to choose scales.
    """

    def __init__(self, network: Network[FloatNeuron], samples: Array) -> None:
        """Args: samples: real input (B, T, *input shape), of which `calibration_samples` are used."""
        part = samples[: calibration_samples(network)]
        static = part.strides[1] == 0
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
