"""Files as sinabs' exporter writes them."""

from __future__ import annotations

import sinabs.layers as sl
import torch
from sinabs.nir import to_nir
from torch import Tensor, nn

from tests.frontends.nir_files import recorded, save, spikes_in


def run(name: str, net: nn.Module, shape: tuple[int, ...]) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data *= 4.0
            if module.bias is not None:
                module.bias.data = module.bias.data.abs() * 0.5
    x = spikes_in(shape)
    flat = x.flatten(0, 1)
    neurons = {name: m for name, m in net.named_children() if isinstance(m, sl.StatefulLayer)}
    net(flat)
    for module in neurons.values():
        module.reset_states()
    graph = to_nir(net, flat[: x.shape[1]])
    for module in neurons.values():
        module.reset_states()
    found = recorded(neurons, lambda: net(flat), lambda out: out)
    spikes = {node: found[node][0].unflatten(0, x.shape[:2]) for node in neurons}
    if name == "conv":
        graph.infer_types()
    save(f"sinabs-{name}", graph, x, spikes)


class Residual(nn.Module):
    """a + b, which the exporter loses."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.fc1, self.n1 = nn.Linear(8, 8), sl.IAFSqueeze(num_timesteps=steps)
        self.fc2, self.n2 = nn.Linear(8, 8), sl.IAFSqueeze(num_timesteps=steps)
        self.fc3, self.n3 = nn.Linear(8, 5), sl.IAFSqueeze(num_timesteps=steps)

    def forward(self, x: Tensor) -> Tensor:
        a = self.n1(self.fc1(x))
        return self.n3(self.fc3(a + self.n2(self.fc2(a))))


def write() -> None:
    steps = 12
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        sl.IAFSqueeze(num_timesteps=steps),
        sl.SumPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2),
        sl.IAFSqueeze(num_timesteps=steps, spike_threshold=torch.tensor(2.0)),
        nn.Flatten(),
        nn.Linear(4, 5),
        sl.IAFSqueeze(num_timesteps=steps),
    )
    run("conv", net, (2, 8, 8))
    net = nn.Sequential(
        nn.Linear(10, 12),
        sl.LIFSqueeze(tau_mem=2.0 + 5.0 * torch.rand(12), num_timesteps=steps, spike_threshold=torch.full((12,), 0.3)),
        nn.Linear(12, 6),
        sl.LIFSqueeze(tau_mem=torch.tensor(5.0), num_timesteps=steps, spike_threshold=torch.tensor(0.25)),
    )
    run("mlp", net, (10,))
    run("residual", Residual(steps), (8,))
