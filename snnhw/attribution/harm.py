"""How far a run is from the float network's: spikes of neurons, outputs, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snnhw.network import Array, Kind, Network
from snnhw.readout import judged, scores, values

FLIPS, FLIPPED = 3, 0.02
"""Flipped decisions, and their part of the samples, below which their number is chance."""


@dataclass(frozen=True)
class Seen:
    """What a run did on some samples.

    Args:
        spikes: of every neuron, summed over samples and steps, by spiking population.
        outputs: in the source's units, (B, outputs).
        predictions: classes (B,).
    """

    spikes: Mapping[str, Array]
    outputs: Array
    predictions: Array

    @staticmethod
    def of(network: Network[Any], found: Mapping[str, Array], output: Array) -> Seen:
        """Of spikes (B, T, ...) and of what is read at every step.

        Args:
            network: whose populations and readout count.
        """
        said = scores(network.readout, output)
        size = network[network.readout.population].size
        spiking = [p.name for p in network.populations if p.kind is Kind.NEURON and p.name in found]
        return Seen(
            {name: found[name].astype(np.float64).sum(axis=(0, 1)) for name in spiking},
            values(network.readout, said, size, network.steps),
            judged(network.readout, said),
        )


@dataclass(frozen=True)
class Harm:
    """How far a run is from that of the float network.

    Args:
        layers: spiking population -> sum over neurons of |change of spikes| / spikes in float; the population that is
            read, where that is membranes -> error of the outputs in parts of their spread.
        drift: their mean.
        flipped: decisions that differ.
        samples: number of samples.
        accuracy: of the integers, where labels are known.
    """

    layers: Mapping[str, float]
    drift: float
    flipped: int
    samples: int
    accuracy: float | None = None

    @property
    def agreement(self) -> float:
        """Part of the decisions that are the float network's."""
        return 1.0 - self.flipped / self.samples

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "layers": dict(self.layers), "agreement": self.agreement}


def harm(network: Network[Any], floats: Seen, found: Seen, labels: Array | None = None) -> Harm:
    """The distance of a run from the float network's on the same samples."""
    layers = {}
    for name, before in floats.spikes.items():
        if name in found.spikes and before.sum():
            layers[name] = float(np.abs(found.spikes[name] - before).sum() / before.sum())
    if network.readout.kind not in ("rate", "first"):
        spread = float(np.std(floats.outputs)) or 1.0
        layers[network.readout.population] = float(np.sqrt(np.mean((found.outputs - floats.outputs) ** 2)) / spread)
    flipped = int((found.predictions != floats.predictions).sum())
    right = None if labels is None else float((found.predictions == labels).mean())
    return Harm(layers, float(np.mean(list(layers.values()) or [0.0])), flipped, len(floats.predictions), right)


def healed(before: Harm, after: Harm) -> float:
    """Part of the harm that is gone: of the drift, and of the flipped decisions where these are more than chance."""
    parts = [1.0 - after.drift / before.drift] if before.drift > 0 else [0.0]
    if before.flipped >= max(FLIPS, FLIPPED * before.samples):
        parts.append(1.0 - after.flipped / before.flipped)
    return float(np.mean(parts))
