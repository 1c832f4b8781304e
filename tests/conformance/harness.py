"""Many generated networks in one Lava run (starting processes is what costs), compared with the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from snnhw.engines.base import Engine, Needs, Record
from snnhw.engines.lava import LavaEngine
from snnhw.engines.reference import ReferenceEngine
from snnhw.network import Array
from tests.generate import LIF, PROGRAMMABLE, Case, machine, random_case, union

NETWORKS = 25
SAMPLES = 5
FAST_BATCHES, ALL_BATCHES = 2, 5


def _batches() -> list[Any]:
    """(profile, number) of all batches, 250 networks; a batch and its mutants stay in one worker of pytest-xdist."""
    found = []
    for profile in (LIF, PROGRAMMABLE):
        for number in range(ALL_BATCHES):
            marks = [pytest.mark.xdist_group(f"lava-{profile}-{number}")] + [pytest.mark.slow] * (
                number >= FAST_BATCHES
            )
            found.append(pytest.param(profile, number, marks=marks, id=f"{profile}-{number}"))
    return found


BATCHES = _batches()


@dataclass
class Trace:
    """Keeps everything: population -> spikes, u, v of all samples, and the two counters."""

    needs: Needs
    chunks: dict[str, list[Record]] = field(default_factory=dict)

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """Chunks come in order."""
        assert first_sample == sum(len(r.spikes) for r in self.chunks.get(population, []))
        self.chunks.setdefault(population, []).append(record)

    def arrays(self, population: str) -> dict[str, Array]:
        """Arrays over all samples; counters as arrays of one number."""
        records = self.chunks[population]
        names = ("spikes", *records[0].state)
        found = {name: np.concatenate([r.get(name, population) for r in records]) for name in names}
        return found | {
            what: np.array(sum(r.overflows.get(state, 0) for r in records))
            for what, state in (("wraps", "u"), ("clips", "v"))
        }


def trace(engine: Engine, case: Case, order: Array | None = None) -> Trace:
    """Run a case, in another order of samples if one is given, in two unequal chunks."""
    stream = {name: x if order is None else x[order] for name, x in case.stream.items()}
    kept, middle = Trace(Needs.everything(case.network)), case.samples // 3
    chunks = [{name: x[part] for name, x in stream.items()} for part in (slice(0, middle), slice(middle, None))]
    engine.run(case.network, machine(case.profile), chunks, [kept])
    return kept


def differences(case: Case, one: Trace, other: Trace) -> dict[str, int]:
    """'population field' -> number of values that differ; empty when all bits are equal."""
    found: dict[str, int] = {}
    for population in case.network.populations:
        a, b = one.arrays(population.name), other.arrays(population.name)
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].shape == b[name].shape, (population.name, name)
            if wrong := int((a[name] != b[name]).sum()):
                found[f"{population.name} {name}"] = wrong
    return found


@cache
def batch(profile: str, number: int, networks: int = NETWORKS) -> tuple[Case, ...]:
    """Networks number * networks ... of a profile; their inputs have SAMPLES samples."""
    seeds = range(number * networks, (number + 1) * networks)
    return tuple(random_case(seed, profile, samples=SAMPLES) for seed in seeds)


@cache
def joined(profile: str, number: int) -> Case:
    """A batch as one network."""
    return union(batch(profile, number))


@cache
def lava_trace(profile: str, number: int) -> Trace:
    """A batch in Lava; kept, so that mutants of the reference cost no further run."""
    return trace(LavaEngine(), joined(profile, number))


def reference_trace(case: Case) -> Trace:
    """The same in the reference engine."""
    return trace(ReferenceEngine(), case)
