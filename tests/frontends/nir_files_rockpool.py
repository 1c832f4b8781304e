"""Files as Rockpool's exporter writes them."""

from __future__ import annotations

from typing import Any

import torch
from rockpool.nn.combinators import Residual, Sequential
from rockpool.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir
from torch import Tensor

from tests.frontends.nir_files import recorded, save, spikes_in


def lif(size: int, **options: Any) -> LIFTorch:
    return LIFTorch(
        size,
        tau_mem=0.003 + 0.01 * torch.rand(size),
        tau_syn=0.002 + 0.005 * torch.rand(size),
        threshold=1.0 + torch.rand(size),
        bias=torch.zeros(size),
        dt=1e-3,
        **options,
    )


def run(name: str, net: Any, size: int, neurons: dict[str, Any]) -> None:
    x = spikes_in((size,))
    for module in net.modules().values():
        if isinstance(module, LinearTorch):
            module.weight.data *= 2.0
    graph = to_nir(net, x[:1])
    for node in graph.nodes.values():  # its tensors require gradients, which nir.write does not take
        for key, value in vars(node).items():
            if isinstance(value, Tensor):
                setattr(node, key, value.detach().numpy())
    net.reset_state()
    found = recorded(neurons, lambda: net(x), lambda out: out if isinstance(out, Tensor) else out[0])
    save(f"rockpool-{name}", graph, x, {node: found[node][0] for node in neurons})


def write() -> None:
    net = Sequential(LinearTorch((10, 12), has_bias=False), lif(12), LinearTorch((12, 6), has_bias=True), lif(6))
    parts = list(net.modules().values())
    run("cubalif", net, 10, dict(zip(("1_LIFTorch", "3_LIFTorch"), parts[1::2], strict=True)))
    plain = LIFNeuronTorch(8, tau_mem=torch.full((8,), 0.005), threshold=torch.ones(8), bias=torch.zeros(8), dt=2e-3)
    net = Sequential(LinearTorch((10, 8), has_bias=False), plain)
    run("lif", net, 10, {"1_LIFNeuronTorch": plain})
    net = Sequential(
        LinearTorch((8, 8)), lif(8), Residual(LinearTorch((8, 8)), lif(8)), LinearTorch((8, 5)), last := lif(5)
    )
    run("residual", net, 8, {"4_LIFTorch": last})
