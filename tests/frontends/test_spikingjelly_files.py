"""State dicts of SpikingJelly's own networks, read without its classes: the same spikes as its classes give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from snnhw.frontends import load_source
from snnhw.frontends.options import SourceOptions

STEPS = 4


class MnistTutorial(nn.Module):
    """lif_fc_mnist."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(layer.Flatten(), layer.Linear(28 * 28, 10, bias=False), neuron.LIFNode(tau=2.0))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


class FashionTutorial(nn.Module):
    """conv_fashion_mnist's CSNN."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv_fc = nn.Sequential(
            *(layer.Conv2d(1, channels, kernel_size=3, padding=1, bias=False), layer.BatchNorm2d(channels)),
            *(neuron.IFNode(), layer.MaxPool2d(2, 2)),
            *(layer.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False), layer.BatchNorm2d(channels)),
            *(neuron.IFNode(), layer.MaxPool2d(2, 2), layer.Flatten()),
            *(layer.Linear(channels * 7 * 7, channels * 4 * 4, bias=False), neuron.IFNode()),
            *(layer.Linear(channels * 4 * 4, 10, bias=False), neuron.IFNode()),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv_fc(x)
        return found


def published(name: str, kind: Any, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        models = pytest.importorskip("spikingjelly.activation_based.model.parametric_lif_net")
        found: nn.Module = getattr(models, name)(4, kind, **options)
        return found

    return make


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "lif_fc_mnist": (MnistTutorial, (1, 28, 28), {"neuron": "lif"}),
    "conv_fashion_mnist": (FashionTutorial, (1, 28, 28), {"neuron": "if"}),
    "MNISTNet": (published("MNISTNet", neuron.IFNode), (1, 28, 28), {"neuron": "if"}),
    "NMNISTNet": (published("NMNISTNet", neuron.LIFNode), (2, 34, 34), {"neuron": "lif"}),
    "CIFAR10Net": (published("CIFAR10Net", neuron.LIFNode, tau=4.0), (3, 32, 32), {"neuron": "lif", "decay": 0.75}),
    "CIFAR10DVSNet": (published("CIFAR10DVSNet", neuron.ParametricLIFNode), (2, 128, 128), {}),
    "DVSGestureNet": (published("DVSGestureNet", neuron.ParametricLIFNode), (2, 128, 128), {}),
}


def alive(module: nn.Module) -> nn.Module:
    """Weights at which all layers spike."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.6, 1.6)
            nn.init.uniform_(part.bias, 1.0, 2.5)
            nn.init.normal_(part.running_mean, 0, 0.2)
            nn.init.uniform_(part.running_var, 0.3, 1.2)
        elif isinstance(part, nn.Linear):
            part.weight.data *= 8
    return module.double().eval()


@pytest.mark.parametrize("name", NETS)
def test_the_same_spikes(name: str, tmp_path: Path) -> None:
    make, shape, flags = NETS[name]
    module = alive(make())
    functional.set_step_mode(module, "m")
    torch.save({"net": module.state_dict(), "epoch": 1, "max_test_acc": 0.9}, tmp_path / "checkpoint_max.pth")
    source = load_source(tmp_path / "checkpoint_max.pth", SourceOptions(steps=STEPS, **flags))
    assert source.deployment.input_shape == shape
    x = (torch.rand(STEPS, 2, *shape) < 0.5).double()
    assert source.module is not None
    with torch.no_grad():
        want, found = module(x), source.module(x)
    assert 0 < float(want.mean()) < 1
    torch.testing.assert_close(found, want, rtol=0, atol=1e-12)
