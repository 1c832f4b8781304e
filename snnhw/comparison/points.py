"""The points of a sweep: how a source was compiled, and what that costs and gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """One way to compile.

    Args:
        weight_bits: as of `snnhw compile`; None for the target's own.
        steps: T; None for the source's own.
        map: aim of the placement.
        scale: 'calibrated' or 'weights'.
    """

    target: str
    weight_bits: str | None = None
    steps: int | None = None
    map: str = "balanced"
    scale: str = "calibrated"

    def __str__(self) -> str:
        bits = "" if self.weight_bits is None else f", {self.weight_bits} bits"
        steps = "" if self.steps is None else f", T = {self.steps}"
        return f"{self.target}{bits}{steps}, {self.map}, {self.scale}"


@dataclass(frozen=True)
class Row:
    """What a point costs and gives, per sample; nothing but `refused` where it cannot be compiled or run.

    Args:
        accuracy_float, accuracy: with labels.
        agreement: of decisions, integers with floats; None where outputs are judged as values.
        energy_j, latency_s, period_s: joules; seconds of one sample alone, and between samples of a stream; `_low` and
            `_high` are the ends of their bands (docs/energy.md).
        energy_grade, time_grade: how sure they are.
        artifact: the compiled network's file in the folder.
        refused: code and message.
    """

    point: Point
    accuracy_float: float | None = None
    accuracy: float | None = None
    agreement: float | None = None
    rmse: float | None = None
    energy_j: float | None = None
    energy_j_low: float | None = None
    energy_j_high: float | None = None
    latency_s: float | None = None
    latency_s_low: float | None = None
    latency_s_high: float | None = None
    period_s: float | None = None
    period_s_low: float | None = None
    period_s_high: float | None = None
    synops: float | None = None
    spikes: float | None = None
    cores: int | None = None
    chips: int | None = None
    bits_per_weight: float | None = None
    energy_grade: str | None = None
    time_grade: str | None = None
    artifact: str | None = None
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """One flat record: a row of the CSV and of the JSON."""
        found = asdict(self)
        return {**found.pop("point"), **found}
