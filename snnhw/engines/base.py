"""What every engine promises: the same bits, streamed to observers population by population."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from snnhw.artifact import Artifact
from snnhw.network import Array


@dataclass(frozen=True)
class Record:
    """What one population did for some samples, sample-step aligned; every array is (B, T, *population shape).

    Args:
        spikes: spike counts (inputs: their values), an integer type.
        u, v: current and membrane after the step (v after reset), int32; None for inputs.
        wraps, clips: how often u wrapped and v saturated, summed over the record (0 for inputs).
    """

    spikes: Array
    u: Array | None = None
    v: Array | None = None
    wraps: int = 0
    clips: int = 0


class Observer(Protocol):
    """Sees every population of every chunk of samples once; keeps only what it needs."""

    def observe(self, first_sample: int, population: str, record: Record) -> None:
        """`first_sample` is the index of the chunk's first sample in the whole run."""
        ...


class Engine(Protocol):
    """Runs an artifact on encoded samples.

    `chunks` yields input population name -> int array (B, T, *shape), in order; all chunks belong to one run.
    Raises EngineError when the engine is not installed, fails or runs out of time; never falls back to another.
    """

    name: str

    def run(self, artifact: Artifact, chunks: Iterable[Mapping[str, Array]], observers: Sequence[Observer]) -> None: ...
