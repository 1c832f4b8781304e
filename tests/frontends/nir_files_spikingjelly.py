"""Files as SpikingJelly's exporter writes them."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import Tensor, nn

from tests.frontends.nir_files import recorded, save, spikes_in, stepwise


def run(name: str, net: nn.Module, shape: tuple[int, ...]) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data *= 3.0
            if module.bias is not None:
                module.bias.data = module.bias.data.abs() * 0.5
    x = spikes_in(shape)
    graph = export_to_nir(net, x[:1, 0])
    functional.reset_net(net)
    neurons = {key: module for key, module in net.named_modules() if isinstance(module, neuron.BaseNode)}

    def forward() -> None:
        for t in range(x.shape[1]):
            net(x[:, t])

    found = recorded(neurons, forward, lambda out: out)
    save(f"spikingjelly-{name}", graph, x, {_node(key): stepwise(key, found) for key in neurons})


def _node(path: str) -> str:
    """The exporter's name of a module."""
    return f"_{path}" if path.isdigit() else path


class Residual(nn.Module):
    """SEW ADD twice: each reader has the edges of all summands."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.n0 = layer.Linear(8, 8), neuron.IFNode()
        self.fc1, self.n1 = layer.Linear(8, 8), neuron.IFNode()
        self.fc2, self.n2 = layer.Linear(8, 8), neuron.LIFNode(tau=1.7)
        self.fc3, self.n3 = layer.Linear(8, 5), neuron.IFNode()

    def forward(self, x: Tensor) -> Tensor:
        x = self.n0(self.fc0(x))
        x = self.n1(self.fc1(x)) + x
        x = self.n2(self.fc2(x)) + x
        return self.n3(self.fc3(x))


def write() -> None:
    net = nn.Sequential(
        layer.Linear(10, 12),
        neuron.LIFNode(tau=1.5, decay_input=True, v_threshold=0.6),
        layer.Linear(12, 6),
        neuron.LIFNode(tau=2.5, decay_input=False, v_threshold=1.1, v_reset=-0.25),
    )
    run("mlp", net, (10,))
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        neuron.IFNode(v_reset=0.0),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 4, 3, stride=2),
        neuron.ParametricLIFNode(init_tau=2.0, decay_input=False),
        layer.Flatten(),
        layer.Linear(4, 5),
        neuron.IFNode(v_reset=0.25),
    )
    run("conv", net, (2, 8, 8))
    run("residual", Residual(), (8,))
    net = nn.Sequential(
        layer.Linear(10, 9), neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7), layer.Linear(9, 5), neuron.IFNode()
    )
    run("cubalif", net, (10,))
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(10, 9), neuron.LIFNode(tau=1.5), layer.Linear(9, 5), neuron.LIFNode(tau=1.2))
    run("default_lif", net, (10,))
