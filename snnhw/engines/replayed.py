"""The numeric check of a network that was integers already: its source's own rules and our engine give the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnhw.encoding import encode
from snnhw.engines.base import Record
from snnhw.engines.fast import FastEngine
from snnhw.frontends.check import Check
from snnhw.frontends.source import IntegerSource
from snnhw.machine import Machine
from snnhw.network import Array, Kind
from snnhw.quantize.quantize import Quantized

STAGE = "netx rules = integers"
DENSITY = 0.3
"""Of random spikes where there are no samples."""


def check_replay(source: IntegerSource, quantized: Quantized, samples: Array | None, chip: Machine) -> Check:
    """Spikes of all populations (v of the accumulator) on one sample, against `IntegerSource.replay`.

    Args:
        samples: as the user has them; random ones if None.
    """
    network = quantized.network
    (spec,) = quantized.inputs
    x = _random(source) if samples is None else samples[:1]
    values = encode(x, quantized.inputs, network.steps)
    expected = source.replay(values[spec.population])
    kept = _Kept({})
    FastEngine().run(_Bare(network, chip), [values], [kept])  # type: ignore[arg-type]
    compared = different = 0
    first = ""
    for population in network.computed:
        record = kept.records[population.name]
        found = np.asarray(record.v if population.kind is Kind.ACCUMULATOR else record.spikes)
        odd = np.argwhere(found != expected[population.name])
        compared, different = compared + found.size, different + len(odd)
        if len(odd) and not first:
            first = f"{population.name}: neuron {tuple(odd[0][2:].tolist())} differs first, at step {odd[0][1]}"
    return Check(STAGE, 1, compared, different, first)


def _random(source: IntegerSource) -> Array:
    """One sequence: values in [0, 1], or spikes."""
    d = source.deployment
    x = np.random.default_rng(0).random((1, d.steps, *d.input_shape))
    return x if d.encoding == "direct" else (x < DENSITY).astype(np.uint8)


@dataclass
class _Kept:
    """Records of one chunk."""

    records: dict[str, Record]

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Keep it."""
        self.records[population] = record


class _Bare:
    """Just enough of an artifact for an engine."""

    def __init__(self, network: Any, target: Machine) -> None:
        self.network, self.target = network, target
