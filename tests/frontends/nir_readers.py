"""How each framework reads a NIR file and runs it, through its own importer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

Read = Callable[[nir.NIRGraph, Tensor], Tensor]
"""(graph, x of shape (samples, T, ...)) -> output (samples, T, ...)."""


def run_in(framework: str, path: Path, x: np.ndarray) -> np.ndarray:
    """The output of a framework's network read from a file."""
    torch.set_num_threads(1)
    with torch.no_grad():
        out = READERS[framework](nir.read(path), torch.from_numpy(x).float())
    return out.numpy()


def _stepwise(net: Any, x: Tensor) -> Tensor:
    """Sample by sample (Flatten nodes of some importers take the batch along), one step a call, state handed on."""
    samples = []
    for sample in x:
        state, outputs = None, []
        for step in sample:
            found, state = net(step[None], state)
            outputs.append(found)
        samples.append(torch.cat(outputs))
    return torch.stack(samples)


def _snntorch(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    from snntorch import utils
    from snntorch.import_nir import import_from_nir

    net = import_from_nir(graph)
    samples = []
    for sample in x:
        utils.reset(net)
        samples.append(_stepwise(net, sample[None])[0])
    return torch.stack(samples)


def _spikingjelly(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepwise(import_from_nir(graph), x)


def _norse(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    import norse.torch

    return _stepwise(norse.torch.from_nir(graph), x)


def _sinabs(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    from sinabs.nir import from_nir

    found = from_nir(graph, batch_size=len(x))(x.flatten(0, 1))
    return (found[0] if isinstance(found, tuple) else found).unflatten(0, x.shape[:2])


def _rockpool(graph: nir.NIRGraph, x: Tensor) -> Tensor:
    from rockpool.nn.modules.torch.nir import from_nir

    found = from_nir(graph)(x)
    return found[0] if isinstance(found, tuple) else found


READERS: dict[str, Read] = {
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
    "norse": _norse,
    "sinabs": _sinabs,
    "rockpool": _rockpool,
}
