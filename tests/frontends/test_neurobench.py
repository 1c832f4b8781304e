"""NeuroBench's metrics against its own harness, on networks of snnTorch (the one framework whose states it reads)."""

from __future__ import annotations

from typing import Any

import pytest
import snntorch as snn
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import snnhw

STATIC = [Footprint, ConnectionSparsity, ParameterCount]
WORKLOAD = [ActivationSparsity, MembraneUpdates, SynapticOperations, ClassificationAccuracy]


class Convolutional(nn.Module):
    """Pooled spikes are no spikes: the harness calls the layer behind them one of multiply-accumulates."""

    def __init__(self, reset: str) -> None:
        super().__init__()
        self.conv, self.lif0 = nn.Conv2d(1, 4, 3, padding=1), snn.Leaky(beta=0.9, reset_mechanism=reset)
        self.pool, self.fc1 = nn.AvgPool2d(2), nn.Linear(64, 12)
        self.lif1, self.fc2 = snn.Leaky(beta=0.8, reset_mechanism=reset), nn.Linear(12, 5)
        self.lif2 = snn.Leaky(beta=0.7, reset_mechanism=reset)

    def reset(self) -> None:
        self.states = [layer.init_leaky() for layer in (self.lif0, self.lif1, self.lif2)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes, self.states[0] = self.lif0(self.conv(x), self.states[0])
        spikes, self.states[1] = self.lif1(self.fc1(self.pool(spikes).flatten(1)), self.states[1])
        spikes, self.states[2] = self.lif2(self.fc2(spikes), self.states[2])
        return spikes, self.states[2]


class Recurrent(nn.Module):
    """What feeds back is read a step later."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 9), snn.RLeaky(beta=0.8, linear_features=9)
        self.fc2, self.lif2 = nn.Linear(9, 5), snn.Leaky(beta=0.6)

    def reset(self) -> None:
        self.spikes, self.first = self.lif1.init_rleaky()
        self.second = self.lif2.init_leaky()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.spikes, self.first = self.lif1(self.fc1(x.flatten(1)), self.spikes, self.first)
        spikes, self.second = self.lif2(self.fc2(self.spikes), self.second)
        return spikes, self.second


class OverTime(nn.Module):
    """The same network over all steps, as snnhw reads it."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        self.net.reset()
        return torch.stack([self.net(step)[0] for step in x])


@pytest.mark.parametrize("analog", [False, True])
@pytest.mark.parametrize("build", [lambda: Convolutional("subtract"), lambda: Convolutional("zero"), Recurrent])
def test_the_harness_finds_the_same(build: Any, analog: bool) -> None:
    torch.manual_seed(4)
    net = build().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2.5
        net.fc1.weight[torch.rand_like(net.fc1.weight) < 0.3] = 0.0
    x = torch.rand(10, 7, 1, 8, 8)
    x, y = x if analog else (x < 0.3).float(), torch.randint(0, 5, (10,))
    data = DataLoader(TensorDataset(x, y), batch_size=10)
    want = Benchmark(SNNTorchModel(net), data, [], [lambda p: p.sum(1).argmax(-1)], [STATIC, WORKLOAD]).run(quiet=True)
    module = OverTime(net)
    artifact = snnhw.compile(module, x.transpose(0, 1).contiguous(), target="loihi2")
    report = snnhw.compare(module, artifact, x.numpy(), y.numpy())
    found = snnhw.neurobench(report, module, artifact, x.numpy())
    assert {name: found[name] for name in want} == {
        name: value if isinstance(value, dict) else pytest.approx(value, rel=1e-6) for name, value in want.items()
    }
    assert want["SynapticOperations"]["Effective_ACs"] > 0
    assert 0 < want["ActivationSparsity"] < 1
