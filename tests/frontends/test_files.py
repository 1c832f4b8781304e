"""Whole pickled modules (`--trust-pickle`) of the frameworks whose modules can be pickled at all: those of snnTorch,
Norse and Rockpool hold functions that torch.save refuses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import snnhw
from snnhw.errors import SnnhwError
from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions
from tests.frontends.environments import VARIABLE

STEPS, INPUTS = 9, 5
Made = tuple[nn.Module, Callable[[Tensor], Any]]
"""A module, and how it is run on (T, N, inputs): spikes of its last layer, (T, N, outputs)."""


def spikingjelly() -> Made:
    from spikingjelly.activation_based import functional, layer, neuron

    module = nn.Sequential(layer.Linear(INPUTS, 8), neuron.LIFNode(), layer.Linear(8, 4), neuron.IFNode())
    functional.set_step_mode(module, "m")

    def run(x: Tensor) -> Tensor:
        functional.reset_net(module)
        found: Tensor = module(x)
        functional.reset_net(module)
        return found

    return module, run


def sinabs() -> Made:
    import sinabs.layers as sl

    module = nn.Sequential(nn.Linear(INPUTS, 8), sl.IAF(), nn.Linear(8, 4), sl.LIF(tau_mem=5.0))

    def run(x: Tensor) -> Tensor:
        for part in module:
            if hasattr(part, "reset_states"):
                part.reset_states()
        return module(x.transpose(0, 1)).transpose(0, 1)

    return module, run


MAKERS: dict[str, Callable[[], Made]] = {
    "spikingjelly": spikingjelly,
    "spikingjelly14": spikingjelly,
    "sinabs": sinabs,
}


def made() -> Made:
    torch.manual_seed(3)
    module, run = MAKERS[os.environ[VARIABLE]]()
    with torch.no_grad():
        for values in module.parameters():
            if values.dim() == 2:
                values.copy_(torch.randn(values.shape) * 0.8 + 0.3)
    module.eval()
    return module, run


def test_a_pickled_module(tmp_path: Path) -> None:
    """Refused without the flag; with it, the spikes that the framework gives itself."""
    _, run = made()
    x = (torch.rand(STEPS, 6, INPUTS) < 0.5).float()
    with torch.no_grad():
        want = run(x).transpose(0, 1).numpy()
    assert want.mean() > 0
    path = tmp_path / "net.pt"
    torch.save(made()[0], path)
    with pytest.raises(SnnhwError, match="unsafe-checkpoint: the file holds more than numbers"):
        load_source(path, SourceOptions(steps=STEPS, input_shape=(INPUTS,)))
    options = SourceOptions(trust_pickle=True, steps=STEPS, input_shape=(INPUTS,))
    found = snnhw.run_float(path, x.transpose(0, 1).numpy(), options=options)
    assert np.array_equal(found["output"], want)
