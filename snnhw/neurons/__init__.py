"""Neuron models: one file and one line here each. A population's record (`MODEL`) says which model it is of."""

from __future__ import annotations

from snnhw.neurons import alif, cuba_lif
from snnhw.neurons.base import Model as Model

REGISTRY: dict[str, Model] = {
    model.name: model
    for model in (
        cuba_lif.MODEL,
        alif.MODEL,
    )
}  # fmt: skip
