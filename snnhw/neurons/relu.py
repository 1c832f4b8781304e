"""max(x, 0) of what arrives in a step, sent at once: what relays of differences are (`snnhw/lowering/maxima.py`).

In integers it is no model of its own: a membrane without memory whose threshold is one unit of what arrives sends that
many spikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from snnhw.neurons.base import UNLIMITED, Comparison, Model
from snnhw.neurons.cuba_lif import Cells, FloatNeuron, IntNeuron
from snnhw.operators.base import Array, Shape


@dataclass(frozen=True)
class FloatRelu(FloatNeuron):
    """Without memory, threshold and floor: what is not positive is sent as 0, all else as it is."""

    MODEL: ClassVar[str] = "relu"
    PROFILES: ClassVar[tuple[str, ...]] = ("programmable",)
    NIR: ClassVar[dict[str, tuple[str, ...]]] = {}

    def cells(self, shape: Shape, dtype: Any) -> Cells:
        """It has no state."""
        return _Relus(self, shape, dtype)

    @property
    def text(self) -> str:
        """For `format_network`."""
        return " relu"


class _Relus(Cells):
    def step(self, x: Array) -> Array:
        self.before = x
        return np.maximum(x, 0)


def relu() -> FloatRelu:
    """The neuron."""
    nothing = np.zeros(())
    return FloatRelu(0.0, nothing, nothing, comparison=Comparison.GE, max_spikes=UNLIMITED)


MODEL = Model("relu", FloatRelu, IntNeuron)
