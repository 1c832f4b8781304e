"""Counters of a run: integers that merge by addition, streamed chunk by chunk.

Rules (docs/energy.md says why):

- event: a non-zero entry of a population's spikes; a graded event is one event, its magnitude is summed beside it.
- synop: one stored synapse reached by one event, at borders only those that exist; injected values have none.
- access: every computed neuron in every sample step; an update is *active* when v before the step, u, the bias or
  the spike is not zero.
- message: one per event and distinct destination core. All projections (and all delays: the delay is a field of the
  synapse) from the neuron to that core share it; a core may send to itself. Unicast: no multicast is assumed.
- hops: of a message between cores on XY routes, E-W and N-S apart, and borders between chips crossed. Messages from
  the host are counted apart and have no hops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnhw.artifact import Artifact
from snnhw.chip.analytic import Times
from snnhw.chip.band import machines
from snnhw.chip.kernels import count_events
from snnhw.chip.loads import Loads
from snnhw.chip.wiring import Wiring, wire
from snnhw.engines.base import Needs, Record
from snnhw.network import Array, IntNeuron, Kind, Population

if TYPE_CHECKING:
    from snnhw.chip.trace import EventTimes


@dataclass(frozen=True)
class Counts:
    """What happened in a run, per neuron; every entry adds.

    Args:
        samples: number of samples.
        events: population -> non-zero spikes of every neuron, int64 (N,).
        magnitude: population -> sum of |value| of every neuron's events, int64 (N,).
        active: computed population -> active updates of all its neurons.
        wraps, clips: population -> how often u wrapped and v saturated.
    """

    samples: int
    events: Mapping[str, Array]
    magnitude: Mapping[str, Array]
    active: Mapping[str, int]
    wraps: Mapping[str, int]
    clips: Mapping[str, int]

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.samples + other.samples,
            _added(self.events, other.events),
            _added(self.magnitude, other.magnitude),
            _added(self.active, other.active),
            _added(self.wraps, other.wraps),
            _added(self.clips, other.clips),
        )


def _added(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    return {name: a[name] + b[name] for name in a}


class ChipObserver:
    """Counts a run and times every sample on the chip; see `Counts` and `analytic.Times`.

    Args:
        wiring: give it when several observers watch the same artifact; made from the artifact otherwise.
        timing: 'analytic', or 'event' for times of single messages.
    """

    def __init__(self, artifact: Artifact, wiring: Wiring | None = None, timing: str = "analytic") -> None:
        self.artifact = artifact
        self.wiring = wiring if wiring is not None else wire(artifact)
        low, likely, high = (Loads(artifact, self.wiring, target) for target in machines(artifact.target))
        self.loads, self.ends = likely, {"low": low, "likely": likely, "high": high}
        names = [p.name for p in artifact.network.populations]
        self._events = {p.name: np.zeros(p.size, np.int64) for p in artifact.network.populations}
        self._magnitude = {name: count.copy() for name, count in self._events.items()}
        self._active, self._wraps, self._clips = (dict.fromkeys(names, 0) for _ in range(3))
        self._samples = 0
        self._timer: EventTimes | None = None
        if timing == "event":
            from snnhw.chip.trace import EventTimes

            self._timer = EventTimes(artifact, self.wiring, self.loads)
        self.needs = Needs(
            frozenset(names),
            events=frozenset(names if self._timer else ()),
            active={p.name: self.loads.costs[p.name].slot for p in artifact.network.computed},
        )

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Count one population of one chunk."""
        p = self.artifact.network[population]
        spikes = record.get("spikes", population)
        batch, steps = spikes.shape[:2]
        if p is self.artifact.network.populations[0]:
            self._samples += batch
        histogram = self._count(p, spikes)
        active = np.zeros((batch, steps, 0), np.int64) if p.kind is Kind.INPUT else record.get("active", population)
        self._active[population] += int(active.sum())
        self._wraps[population] += record.overflows.get("u", 0)
        self._clips[population] += sum(count for state, count in record.overflows.items() if state != "u")
        for loads in self.ends.values():
            loads.add(population, histogram.reshape(batch, steps, -1), active)
        if self._timer is not None and record.events is not None:
            self._timer.add(population, record.events, active)

    def _count(self, p: Population[IntNeuron], spikes: Array) -> Array:
        """Events per class of neurons, (B, T, classes); a static input is counted once and repeated."""
        batch, steps = spikes.shape[:2]
        repeat = steps if steps > 1 and spikes.strides[1] == 0 else 1
        values = (spikes[:, :1] if repeat > 1 else spikes).reshape(-1, p.size)
        cost = self.loads.costs[p.name]
        per_neuron, histogram = count_events(values, cost.labels, cost.classes)
        self._events[p.name] += per_neuron * repeat
        plain = values.dtype == np.int8 and p.payload == (0, 1)
        magnitude = per_neuron if plain else np.abs(values).sum(axis=0, dtype=np.int64)
        self._magnitude[p.name] += magnitude * repeat
        return np.repeat(histogram.reshape(batch, steps // repeat, cost.classes), repeat, axis=1)

    @property
    def events(self) -> EventTimes | None:
        """What times single messages, if somebody asked for that."""
        return self._timer

    @property
    def counts(self) -> Counts:
        """Everything counted so far."""
        events, magnitude = ({name: n.copy() for name, n in part.items()} for part in (self._events, self._magnitude))
        return Counts(self._samples, events, magnitude, dict(self._active), dict(self._wraps), dict(self._clips))

    @property
    def times(self) -> Times:
        """Times of all samples whose populations have all been seen."""
        return self.loads.times if self._timer is None else self._timer.times
