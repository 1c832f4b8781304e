"""Hard reset in place of soft reset, on wish: Loihi 1 resets to zero and starts at zero. Approximate, and said so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnhw.machine import Machine
from snnhw.network import FloatNeuron, Kind, Network, Population, Reset
from snnhw.quantize.neuron import said
from snnhw.rationale import Effect, Reason


def without_soft_reset(network: Network[FloatNeuron], target: Machine) -> Network[FloatNeuron]:
    """The network with neurons that reset to zero, and start there, where they subtract and the target cannot."""
    if str(Reset.SUBTRACT) in target.numeric.resets:
        return network
    return replace(network, populations=tuple(map(_hard, network.populations)))


def _hard(population: Population[FloatNeuron]) -> Population[FloatNeuron]:
    if population.kind is not Kind.NEURON or population.model.reset is not Reset.SUBTRACT:
        return population
    return replace(population, neuron=population.model.hard())


def reset_reasons(before: Network[FloatNeuron], after: Network[FloatNeuron]) -> list[Reason]:
    """The reason of every reset that was changed."""
    lost = "approximate, as asked for: the target cannot subtract; what is above the threshold is lost"
    return [
        Reason(
            population=p.name,
            parameter="reset",
            integer=str(after[p.name].model.reset),
            real=str(p.model.reset),
            kind=Effect.APPROXIMATE,
            text=lost + (f", and v starts at 0 instead of {said(p.model.v_init)}" if np.any(p.model.v_init) else ""),
        )
        for p in before.computed
        if after[p.name].model.reset is not p.model.reset
    ]
