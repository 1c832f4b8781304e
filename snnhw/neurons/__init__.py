"""Neuron models: one file and one line here each. A population's record (`MODEL`) says which model it is of."""

from __future__ import annotations

from typing import Any

from snnhw.neurons import alif, cuba_lif, prepaid, relu
from snnhw.neurons.base import Model as Model

REGISTRY: dict[str, Model] = {
    model.name: model
    for model in (
        cuba_lif.MODEL,
        alif.MODEL,
        prepaid.MODEL,
        relu.MODEL,
    )
}  # fmt: skip


def records() -> dict[str, Any]:
    """The records of all models, in reals and in integers, by the names of their classes."""
    return {record.__name__: record for model in REGISTRY.values() for record in (model.reals, model.integers)}
