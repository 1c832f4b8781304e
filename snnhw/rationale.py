"""Reasons: where each integer of a compiled network comes from, with what it does to the network as a field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

Figure = int | float | str | None
"""One number, a text such as `-3 to 5` for many, or None where there is none."""


class Effect(StrEnum):
    """What an integer is to the real that it stands for."""

    EXACT = "exact"  # the same value, or the same decision wherever it can matter
    ROUNDED = "rounded"  # the nearest that the format holds at the chosen scale
    APPROXIMATE = "approximate"  # a rule that the target lacks: some spikes may differ whatever the scale
    LOSSLESS = "lossless"  # a limit that is proven never to be reached
    CHOSEN = "chosen"  # picked by the compiler: scales, shifts, the form of a sum
    GIVEN = "given"  # taken from the source as it is


@dataclass(frozen=True)
class Reason:
    """Why one integer parameter of a population is what it is.

    Args:
        population: a population of the integer network.
        parameter: what `explain` calls it: `vth`, `weights conv1<-conv1`, ...
        integer: what the chip has.
        real: what it stands for.
        kind: decided by; `text` is for people only.
        text: the rule, one line for `explain`.
    """

    population: str
    parameter: str
    integer: Figure
    real: Figure
    kind: Effect
    text: str

    def __post_init__(self) -> None:
        texts = (self.population, self.parameter, self.text)
        figures = (self.integer, self.real)
        if not all(isinstance(x, str) for x in texts) or not all(isinstance(x, Figure) for x in figures):
            raise TypeError(f"not a reason: {self!r}")
        object.__setattr__(self, "kind", Effect(self.kind))

    def to_dict(self) -> dict[str, Any]:
        """The row of `explain --json`."""
        names = ("population", "parameter", "integer", "real", "kind")
        return {**{name: getattr(self, name) for name in names}, "why": self.text}


def rounded(have: Any, want: Any) -> Effect:
    """EXACT where every integer is its real, else ROUNDED."""
    return Effect.EXACT if np.all(np.asarray(have) == want) else Effect.ROUNDED
