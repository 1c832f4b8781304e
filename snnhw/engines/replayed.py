"""The numeric check of a network that was integers already: its source's own rules and our engine give the same."""

from __future__ import annotations

import numpy as np

from snnhw.encoding import encode
from snnhw.engines.base import Needs
from snnhw.engines.fast import FastEngine
from snnhw.frontends.check import Check
from snnhw.frontends.source import IntegerSource
from snnhw.machine import Machine
from snnhw.network import Array, Kind
from snnhw.quantize.quantize import Quantized

STAGE = "netx rules = integers"
DENSITY = 0.3
"""Of random spikes where there are no samples."""


def check_replay(source: IntegerSource, quantized: Quantized, machine: Machine, samples: Array | None) -> Check:
    """Spikes of all populations (v of the accumulator) on one sample, against `IntegerSource.replay`.

    Args:
        samples: as the user has them; random ones if None.
    """
    network = quantized.network
    (spec,) = quantized.inputs
    x = _random(source) if samples is None else samples[:1]
    values = encode(x, quantized.inputs, network.steps)
    expected = source.replay(values[spec.population])
    said = {p.name: "v" if p.kind is Kind.ACCUMULATOR else "spikes" for p in network.computed}
    membranes = {name: frozenset({what}) for name, what in said.items() if what == "v"}
    needs = Needs(frozenset(said) - frozenset(membranes), membranes)
    records = FastEngine().open(network, machine, needs).advance(values)
    compared = different = 0
    first = ""
    for name, what in said.items():
        found = records[name].get(what, name)
        odd = np.argwhere(found != expected[name])
        compared, different = compared + found.size, different + len(odd)
        if len(odd) and not first:
            first = f"{name}: neuron {tuple(odd[0][2:].tolist())} differs first, at step {odd[0][1]}"
    return Check(STAGE, 1, compared, different, first)


def _random(source: IntegerSource) -> Array:
    """One sequence: values in [0, 1], or spikes."""
    d = source.deployment
    x = np.random.default_rng(0).random((1, d.steps, *d.input_shape))
    return x if d.encoding == "direct" else (x < DENSITY).astype(np.uint8)
