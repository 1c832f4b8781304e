"""NeuroBench's metrics by hand; against its harness: tests/frontends/test_neurobench.py."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnhw.comparison.neurobench import float_metrics
from snnhw.frontends.nir.file import from_graph
from snnhw.frontends.options import SourceOptions

WEIGHT = np.array([[2.0, 0.0], [1.0, 1.0]])


def source() -> nir.NIRGraph:
    """Two inputs, two neurons that fire above 1.5 and forget at once."""
    neuron = nir.IF(np.ones(2), np.full(2, 1.5), np.zeros(2))
    nodes = {"input": nir.Input({"input": np.array([2])}), "fc": nir.Linear(WEIGHT), "n": neuron}
    nodes["output"] = nir.Output({"output": np.array([2])})
    return nir.NIRGraph(nodes, [("input", "fc"), ("fc", "n"), ("n", "output")])


def test_by_hand() -> None:
    """Spikes at step 1, nothing at step 2, reals at step 3: 3 accumulates, then 3 multiply-accumulates; membranes are
    updated once at the first step, and where they change after it."""
    made = from_graph(source(), SourceOptions(dialect="nir", steps=3, semantics={"dt": 1.0}), {"file": "n.nir"})
    found = float_metrics(made, None, [np.array([[[1.0, 1.0], [0.0, 0.0], [0.5, 0.25]]])])
    assert found["SynapticOperations"] == {"Effective_MACs": 3.0, "Effective_ACs": 3.0, "Dense": 12.0}
    assert found["ConnectionSparsity"] == 0.25
    assert found["ParameterCount"] == 4 + 6
    assert found["Footprint"] == 4 * 10
    assert found["ActivationSparsity"] == pytest.approx(4 / 6), "both fire at the first step only"
    assert found["MembraneUpdates"] == 2 + 2 + 2, "what a reset takes shows at the second step"


def test_of_a_module_parameters_and_kept_buffers_are_the_footprint() -> None:
    module = nn.BatchNorm1d(3)
    module.register_buffer("state", torch.zeros(100), persistent=False)
    made = from_graph(source(), SourceOptions(dialect="nir", steps=3, semantics={"dt": 1.0}), {"file": "n.nir"})
    found = float_metrics(made, module, [np.zeros((1, 3, 2))])
    assert found["ParameterCount"] == 6
    assert found["Footprint"] == 4 * 12 + 8
    assert found["ActivationSparsity"] == 1.0
