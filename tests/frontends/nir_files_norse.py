"""Files as Norse's exporter writes them (1.1.0: tau times dt, unless dt=1.0 is given)."""

from __future__ import annotations

from typing import Any

import norse.torch as norse
import torch
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.leaky_integrator_box import LIBoxParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.module.iaf import IAFCell
from norse.torch.module.leaky_integrator_box import LIBoxCell
from norse.torch.module.lif_box import LIFBoxCell
from torch import Tensor, nn

from tests.frontends.nir_files import recorded, save, spikes_in, stepwise


def lif_box(size: int, leak: float = 0.0) -> LIFBoxCell:
    """Per-neuron time constants of 2 to 5 ms."""
    return LIFBoxCell(
        LIFBoxParameters(
            tau_mem_inv=1.0 / (2e-3 + 3e-3 * torch.rand(size)),
            v_th=0.5 + 0.3 * torch.rand(size),
            v_leak=torch.full((size,), leak),
        )
    )


def run(name: str, net: nn.Module, shape: tuple[int, ...], dt: float = 1.0) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data *= 4.0
            module.bias.data = module.bias.data.abs() * 0.5
    x = spikes_in(shape)
    graph = norse.to_nir(net, x[:1, 0], dt=dt)
    neurons = {name: m for name, m in net.named_children() if not isinstance(m, (nn.Linear, nn.Conv2d, LIBoxCell))}

    def forward() -> None:
        state: Any = None
        for t in range(x.shape[1]):
            _, state = net(x[:, t], state)

    found = recorded(neurons, forward, _spikes)
    save(f"norse-{name}", graph, x, {node: stepwise(node, found) for node in neurons})


def _spikes(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


class Residual(nn.Module):
    """a + b, which the exporter loses."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.n1 = nn.Linear(8, 8), IAFCell()
        self.fc2, self.n2 = nn.Linear(8, 8), IAFCell()
        self.fc3, self.n3 = nn.Linear(8, 5), IAFCell()

    def forward(self, x: Tensor, state: Any = None) -> Any:
        one, two, three = state or (None, None, None)
        a, one = self.n1(self.fc1(x), one)
        b, two = self.n2(self.fc2(a), two)
        out, three = self.n3(self.fc3(a + b), three)
        return out, (one, two, three)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return norse.SequentialState(nn.Linear(10, 12), lif_box(12), nn.Linear(12, 6), lif_box(6, 0.1))


def write() -> None:
    run("mlp", mlp(), (10,))
    run("tau_times_dt", mlp(), (10,), dt=1e-3)
    iaf = norse.SequentialState(
        nn.Linear(10, 12),
        IAFCell(IAFParameters(v_th=torch.full((12,), 1.5))),
        nn.Linear(12, 6),
        IAFCell(IAFParameters(v_th=torch.tensor(1.0))),
    )
    run("iaf", iaf, (10,))
    cuba = LIFParameters(
        tau_syn_inv=torch.full((9,), 400.0),
        tau_mem_inv=torch.full((9,), 300.0),
        v_th=torch.full((9,), 0.9),
        v_leak=torch.zeros(9),
        v_reset=torch.zeros(9),
    )
    net = norse.SequentialState(
        nn.Linear(10, 9),
        norse.LIFCell(cuba),
        nn.Linear(9, 5),
        LIBoxCell(LIBoxParameters(tau_mem_inv=torch.full((5,), 200.0), v_leak=torch.zeros(5))),
    )
    run("cubalif", net, (10,))
    run("residual", Residual(), (8,))
