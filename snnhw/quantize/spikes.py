"""How many spikes a neuron sends in one step at most, where the network it was trained in has no limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from snnhw.errors import DataError
from snnhw.network import Array, FloatNeuron, Network, Population
from snnhw.quantize.bounds import Bound
from snnhw.quantize.formats import Formats
from snnhw.quantize.neuron import Made
from snnhw.rationale import Effect, Reason
from snnhw.semantics import UNLIMITED

LOOP_SPIKES = 255
"""Limit inside a loop without calibration data: worst cases that go round prove nothing below the format's own."""

LOOP_MARGIN = 4
"""Limit inside a loop over the most spikes that calibration data reached, rounded up to 2**k - 1."""


def closes_loop(network: Network[Any], name: str) -> bool:
    """Whether a population's spikes go back to one that is not behind it, and so must be limited before it is made."""
    place = {population.name: i for i, population in enumerate(network.populations)}
    return any(place[q.post] <= place[name] for q in network.out_of(name))


def most_spikes(
    network: Network[FloatNeuron], population: Population[FloatNeuron], formats: Formats, values: Array | None
) -> int:
    """The limit as it can be told before bounds are known.

    Args:
        values: float spikes of the population on calibration data.
    """
    n = population.model
    if n.max_spikes < UNLIMITED or not closes_loop(network, population.name):
        return min(n.max_spikes, formats.payload)
    if values is None:
        return min(LOOP_SPIKES, formats.payload)
    wanted = LOOP_MARGIN * max(int(values.max(initial=0)), 1)
    return min((1 << wanted.bit_length()) - 1, formats.payload)


def with_proven_limit(made: Made, population: Population[FloatNeuron], limit: Bound, most: int) -> Made:
    """The neuron with no higher limit than its membrane can reach, and the reason: is any spike lost."""
    wanted = population.model.max_spikes
    if made.neuron.max_spikes == wanted < UNLIMITED:
        return made
    chosen = max(1, min(most, limit.spikes))
    lossless = chosen >= min(limit.spikes, wanted)
    text = (
        f"all that the membrane is proven to reach: {limit.spikes} thresholds"
        if lossless
        else f"approximate: at most {most}, more spikes in one step are lost; the membrane may reach {limit.spikes}"
    )
    reason = Reason(
        population=population.name,
        parameter="max_spikes",
        integer=chosen,
        real="unlimited" if wanted >= UNLIMITED else wanted,
        kind=Effect.LOSSLESS if lossless else Effect.APPROXIMATE,
        text=text,
    )
    return Made(replace(made.neuron, max_spikes=chosen), (*made.reasons, reason))


def require_lossless(network: Network[Any], rationale: Iterable[Reason], bounds: Iterable[Bound]) -> None:
    """Refuse another T at which a population that was compiled to lose no spike could lose some."""
    lossless = {r.population for r in rationale if r.parameter == "max_spikes" and r.kind is Effect.LOSSLESS}
    for found in bounds:
        if found.population in lossless and found.spikes > network[found.population].model.max_spikes:
            raise DataError(
                "more-spikes",
                "in so many steps more spikes can be sent in one step than the network was compiled for",
                where=found.population,
                needed=f"{found.spikes} spikes, {found.steps} steps",
                limit=f"{network[found.population].model.max_spikes} spikes",
                hint="compile it for that number of steps",
            )
