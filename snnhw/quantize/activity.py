"""Float activity on calibration samples, population by population, held no longer than quantisation needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snnhw.evaluate import evaluate, last_readers
from snnhw.network import Array, FloatNeuron, Network

CALIBRATION_SAMPLES = 64
"""Samples that scales and rounding look at; more change little and cost time."""

HELD_VALUES = 1 << 30
"""Most float32 values of activity held at once; networks with more at 64 samples are calibrated on fewer."""


def calibration_samples(network: Network[FloatNeuron]) -> int:
    """How many samples are used: 64, or as many as keep the populations still to be read within HELD_VALUES."""
    last, sizes = last_readers(network), [population.size for population in network.populations]
    ends = [last[population.name] for population in network.populations]
    held = max(
        sum(size for born, (size, end) in enumerate(zip(sizes, ends, strict=True)) if born <= place <= max(born, end))
        for place in range(len(sizes))
    )
    return max(1, min(CALIBRATION_SAMPLES, HELD_VALUES // max(held * network.steps, 1)))


class Activity(Mapping[str, Array]):
    """Values (B, T, *shape), float32, of the population reached last and of those that later ones read.

    float32 is enough to choose scales.
    """

    def __init__(self, network: Network[FloatNeuron], samples: Array) -> None:
        """Args: samples: real input (B, T, *input shape), of which `calibration_samples` are used."""
        part = samples[: calibration_samples(network)]
        static = part.strides[1] == 0
        x = np.broadcast_to(part[:, :1].astype(np.float32), part.shape) if static else part.astype(np.float32)
        self._walk = evaluate(network, {p.name: x for p in network.inputs})
        self._last = last_readers(network)
        self._place = {population.name: i for i, population in enumerate(network.populations)}
        self._held: dict[str, Array] = {}

    def advance(self, name: str) -> None:
        """Compute up to a population; they are asked for in the network's order."""
        for name_before in [other for other in self._held if self._last[other] < self._place[name]]:
            del self._held[name_before]
        while name not in self._held:
            reached, values = next(self._walk)
            self._held[reached] = values

    def __getitem__(self, name: str) -> Array:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
