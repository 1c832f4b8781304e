"""What tests of the zoo's networks share."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import Neuron


class LeafTracer(fx.Tracer):
    """Traces as the compiler's front end does."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, PerStep | Neuron) or super().is_leaf_module(m, module_qualified_name)


def functions(model: nn.Module) -> list[tuple[object, tuple[object, ...]]]:
    """The functions of a traced forward, in order, with their arguments."""
    return [(n.target, n.args) for n in LeafTracer().trace(model).nodes if n.op == "call_function"]


def neurons(model: nn.Module, x: Tensor) -> int:
    """Outputs of all neuron layers for one sample; x is [T, N, ...]."""
    count: list[int] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _args, out: count.append(out[0, 0].numel()))
    with torch.no_grad():
        model(x)
    return sum(count)


def spikes(*shape: int, rate: float = 0.5, seed: int = 0) -> Tensor:
    """Random 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=generator) < rate).float()


def lively(block: nn.Module, seed: int = 0) -> nn.Module:
    """The block, in eval mode, with BatchNorm numbers under which its neurons fire often, and not always."""
    generator = torch.Generator().manual_seed(seed)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 1.0, 4.0, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 1.0, generator=generator)
    return block.eval()
