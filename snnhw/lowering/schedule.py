"""Start steps and delays: the layer-synchronous network as a pipeline in which every hop costs one step.

Each population starts one step after the latest of its inputs; every projection waits for the difference, so that all
inputs of a population belong to the same sample step. Skip paths thereby get the delay of their branch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnhw.errors import LoweringError
from snnhw.network import Comparison, Diagonal, FloatNeuron, Kind, Network, Population, Projection

RELAY_WEIGHT = "relay"
"""Name of the weight 1 of all one-to-one projections into relays."""


def relay_model(largest: int) -> FloatNeuron:
    """v = what arrives, s = v where v >= 1: hands (graded) spikes on unchanged and forgets everything."""
    one, nothing = np.ones(()), np.zeros(())
    return FloatNeuron(v_keep=0.0, threshold=one, bias=nothing, comparison=Comparison.GE, max_spikes=largest)


def schedule(network: Network[FloatNeuron], max_delay: int) -> Network[FloatNeuron]:
    """Start steps, delays and, where a delay exceeds `max_delay`, relay populations.

    Args:
        network: populations in topological order; start steps and delays are ignored.
    """
    if max_delay < 1:
        raise LoweringError("bad-delay", "the longest delay must be at least one step", needed=max_delay, limit=1)
    start = _starts(network)
    relays = _Relays(network, start, max_delay)
    projections = [relays.shorten(p) for p in network.projections]
    populations = tuple(replace(p, start=start[p.name]) for p in network.populations)
    ordered = sorted((*populations, *relays.populations), key=lambda p: (p.start, p.kind is not Kind.RELAY))
    weights = {**network.weights, RELAY_WEIGHT: np.ones(())} if relays.populations else network.weights
    return replace(
        network, populations=tuple(ordered), projections=(*projections, *relays.projections), weights=weights
    )


def _starts(network: Network[FloatNeuron]) -> dict[str, int]:
    """First chip steps: one after the latest input; feedback does not count, constants go before their readers."""
    constants = {p.name for p in network.computed if not network.into(p.name)}
    start: dict[str, int] = {}
    for population in network.populations:
        latest = [start[p.pre] for p in network.into(population.name) if p.pre in start and p.pre not in constants]
        start[population.name] = max(latest) + 1 if latest else 0
    return start | {name: min(start[p.post] for p in network.out_of(name)) - 1 for name in constants}


class _Relays:
    """Chains of relay populations, shared by all projections that leave the same population."""

    def __init__(self, network: Network[FloatNeuron], start: dict[str, int], max_delay: int) -> None:
        self.network, self.start, self.max_delay = network, start, max_delay
        self.populations: list[Population[FloatNeuron]] = []
        self.projections: list[Projection] = []
        self.names: dict[tuple[str, int, int], str] = {}
        """Relay of a population by hops, and by the sample steps that it is late."""

    def shorten(self, projection: Projection) -> Projection:
        """The projection with its delay, starting from a relay when the delay would be too long.

        A hop takes what it can of the synaptic delay, in sample steps, and else of the pipeline's.
        """
        source, lag, hop = projection.pre, projection.lag, 0
        delay = self.start[projection.post] - self.start[projection.pre] + lag
        if delay < 1:
            raise _too_fast(projection, delay)
        while delay > self.max_delay:
            hop += 1
            late = min(lag, self.max_delay - (hop == 1))  # a relay starts behind what it relays
            source = self._relay(projection, source, hop, projection.lag - lag + late, late)
            delay, lag = delay - self.max_delay, lag - late
        return replace(projection, pre=source, lag=lag, delay=delay)

    def _relay(self, projection: Projection, before: str, hop: int, late: int, lag: int) -> str:
        """The relay that is `late` sample steps behind, `lag` of them behind the one before."""
        origin = projection.pre
        if (origin, hop, late) in self.names:
            return self.names[origin, hop, late]
        source = self.network[origin]
        if source.kind is Kind.INPUT:
            raise self._no_relay(projection)
        name = f"{origin}.relay{hop}" if not late else f"{origin}.relay{hop}.late{late}"
        model, begin = relay_model(source.model.max_spikes), self.start[origin] + hop * self.max_delay - late
        self.populations.append(
            Population(name, source.shape, Kind.RELAY, model, start=begin, payload=(0, model.max_spikes))
        )
        after = f" after {lag}" if lag else ""
        self.projections.append(
            Projection(f"{before}->{name}{after}", before, name, Diagonal(RELAY_WEIGHT), self.max_delay, lag=lag)
        )
        self.names[origin, hop, late] = name
        return name

    def _no_relay(self, projection: Projection) -> LoweringError:
        """No relay stands behind an input."""
        if projection.lag:
            delay = self.start[projection.post] - self.start[projection.pre] + projection.lag
            return LoweringError(
                "delay-range",
                "a synaptic delay of the input is longer than the target allows",
                where=projection.name,
                needed=f"{delay} steps ({projection.lag} of them synaptic)",
                limit=f"{self.max_delay} steps",
                hint="delay the spikes of a neuron (relays hold them), or choose a target with longer delays",
            )
        return LoweringError(
            "input-delay",
            "the input reaches a population later than the longest delay allows",
            where=projection.pre,
            limit=f"{self.max_delay} steps",
            hint="connect the input nearer to its consumer, or choose a target with longer delays",
        )


def _too_fast(projection: Projection, delay: int) -> LoweringError:
    return LoweringError(
        "feedback-too-fast",
        "a loop has more hops than its delays have steps: on the chip every hop costs one step",
        where=projection.name,
        needed=f"{projection.lag - delay + 1} steps from {projection.post} round to itself",
        limit=f"{projection.lag} step{'s' if projection.lag > 1 else ''} of delay",
        hint="feed back to the same population, or train with a longer delay on the way back (NIR Delay)",
    )
