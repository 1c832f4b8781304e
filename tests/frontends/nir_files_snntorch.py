"""Files as snnTorch's exporter writes them."""

from __future__ import annotations

from typing import Any

import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from torch import Tensor, nn

from tests.frontends.nir_files import recorded, save, spikes_in, stepwise


def leaky(shape: tuple[int, ...], **options: Any) -> snn.Leaky:
    """Per-neuron decay and threshold: the exporter takes tensors of the layer's full shape only."""
    beta, threshold = 0.6 + 0.35 * torch.rand(shape), 0.7 + 0.5 * torch.rand(shape)
    return snn.Leaky(beta=beta, threshold=threshold, init_hidden=True, **options)


def run(name: str, net: nn.Module, shape: tuple[int, ...], neurons: dict[str, nn.Module]) -> None:
    x = spikes_in(shape)
    graph = export_to_nir(net, x[:1, 0], ignore_dims=[0])
    for module in neurons.values():
        module.reset_mem()

    def forward() -> None:
        for t in range(x.shape[1]):
            net(x[:, t])

    found = recorded(neurons, forward, _spikes)
    save(f"snntorch-{name}", graph, x, {node: stepwise(node, found) for node in neurons})


def _spikes(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


class Residual(nn.Module):
    """a + b, which the exporter loses."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(8, 8), leaky((8,))
        self.fc2, self.lif2 = nn.Linear(8, 8), leaky((8,))
        self.fc3, self.lif3 = nn.Linear(8, 5), leaky((5,))

    def forward(self, x: Tensor) -> Tensor:
        a = self.lif1(self.fc1(x))
        b = self.lif2(self.fc2(a))
        return self.lif3(self.fc3(a + b))


def write() -> None:
    net = nn.Sequential(nn.Linear(10, 12), leaky((12,)), nn.Linear(12, 6), leaky((6,)))
    boost(net)
    run("mlp", net, (10,), {"1": net[1], "3": net[3]})

    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        leaky((4, 8, 8)),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2),
        leaky((4, 1, 1)),
        nn.Flatten(),
        nn.Linear(4, 5),
        leaky((5,)),
    )
    boost(net)
    run("conv", net, (2, 8, 8), {"1": net[1], "4": net[4], "7": net[7]})

    synaptic = snn.Synaptic(
        alpha=0.5 + 0.3 * torch.rand(9), beta=0.6 + 0.3 * torch.rand(9), threshold=torch.ones(9), init_hidden=True
    )
    net = nn.Sequential(nn.Linear(10, 9), synaptic, nn.Linear(9, 5), leaky((5,)))
    boost(net)
    run("cubalif", net, (10,), {"1": net[1], "3": net[3]})

    recurrent = snn.RLeaky(
        beta=0.5 + 0.4 * torch.rand(9), threshold=torch.ones(9), linear_features=9, all_to_all=True, init_hidden=True
    )
    net = nn.Sequential(nn.Linear(10, 9), recurrent, nn.Linear(9, 5), leaky((5,)))
    boost(net)
    run("recurrent", net, (10,), {"1.lif": net[1], "3": net[3]})

    residual = Residual()
    boost(residual)
    run("residual", residual, (8,), {"lif1": residual.lif1, "lif2": residual.lif2, "lif3": residual.lif3})


def boost(net: nn.Module) -> None:
    """Weights large enough that every layer spikes."""
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data *= 3.5
            module.bias.data = module.bias.data.abs() * 0.5
