"""The float side of a comparison: what it must offer, and its counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from snnhw.artifact import Artifact
from snnhw.engines.floating import events_of
from snnhw.errors import DataError
from snnhw.network import Array, Kind


class FloatRun(Protocol):
    """A float network that can be run on samples as the user gives them."""

    def run(self, x: Array) -> tuple[Array, Mapping[str, Array]]:
        """Predicted classes, int (B,), and spikes of populations by name, (B, T, *population shape).

        A method `counted` (`FloatEngine.counted`) is called instead where there is one: it counts events itself, and
        gives outputs in the source's units; without one the integers' values are judged against the labels alone.

        Every NEURON, GATE and RELAY population of `artifact.reference` must be among them, and its INPUT populations
        unless they are directly encoded; others are ignored.
        """
        ...


class FloatCounts:
    """Predictions and per-neuron events of a float run, chunk by chunk."""

    def __init__(self, artifact: Artifact) -> None:
        events = {Kind.NEURON, Kind.GATE, Kind.RELAY} | (
            {Kind.INPUT} if artifact.deployment.encoding != "direct" else set()
        )
        self.wanted = [p.name for p in artifact.reference.populations if p.kind in events]
        self.events: dict[str, Array] = {}
        self._predictions: list[Array] = []
        self._values: list[Array] = []

    def run(self, float_run: FloatRun, x: Array) -> None:
        """Run and count one chunk."""
        if hasattr(float_run, "counted"):
            self.add(*float_run.counted(x))
        else:
            predictions, spikes = float_run.run(x)
            self.add(predictions, {name: events_of(np.asarray(spikes[name])) for name in self.wanted if name in spikes})

    def add(self, predictions: Array, events: Mapping[str, Array], values: Array | None = None) -> None:
        """One chunk: events of every neuron (N,) by population."""
        self._values += [] if values is None else [values]
        self._predictions.append(np.asarray(predictions).astype(np.int64))
        for name in self.wanted:
            if name not in events:
                raise DataError("float-run-incomplete", "the float run gave no spikes of a population", where=name)
            self.events[name] = self.events.get(name, 0) + events[name]

    @property
    def values(self) -> Array | None:
        """Outputs in the source's units, float64 (samples, outputs); None where the run gives none."""
        return np.concatenate(self._values) if self._values else None

    @property
    def predictions(self) -> Array:
        """int64 (samples,)."""
        return np.concatenate(self._predictions) if self._predictions else np.zeros(0, np.int64)
