"""tdBN in both dialects, its residual networks, and what folding makes of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.frontends.check import check_import, run_module
from snnhw.zoo.checkpoint import load_model
from snnhw.zoo.containers import PerStep
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.neurons import IterativeLIF
from snnhw.zoo.registry import RECIPES, build
from snnhw.zoo.tdbn import (
    BRANCH,
    RATE,
    TdbnBlock,
    TdbnResNet,
    ThresholdDependentBatchNorm2d,
    tdbn_resnet19,
    tdbn_resnet34,
    tdbn_resnet50,
)
from tests.unit.frontends.modules import imported, settled, values
from tests.unit.zoo.nets import neurons

VTH, ALPHA = 0.4, BRANCH


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def norm(dialect: str = "forward", **options: float) -> ThresholdDependentBatchNorm2d:
    return ThresholdDependentBatchNorm2d(3, VTH, **{"alpha": ALPHA, **options}, dialect=dialect)


def tdbn(x: Tensor, layer: ThresholdDependentBatchNorm2d, mean: Tensor, var: Tensor) -> Tensor:
    """The paper's equations 5-8, written out; statistics per channel."""
    mean, var, weight, bias = (v.view(1, -1, 1, 1) for v in (mean, var, layer.weight, layer.bias))
    return weight * ALPHA * VTH * (x - mean) / torch.sqrt(var + 1e-5) + bias


@pytest.mark.parametrize("dialect", ["forward", "init"])
def test_a_new_layer_aims_at_the_threshold(dialect: str) -> None:
    x = torch.randn(4, 5, 3, 6, 6) * 3 + 2
    y = PerStep(norm(dialect))(x)
    flat = y.transpose(0, 2).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(1, correction=0), torch.full((3,), ALPHA * VTH), atol=1e-4, rtol=0)


def test_statistics_are_over_time_too_and_the_running_variance_is_unbiased() -> None:
    """T steps of one pixel whose value changes with time only: without T there would be no variance at all."""
    x = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 2, 3, 1, 1).contiguous()
    layer = norm()
    y = PerStep(layer)(x)
    torch.testing.assert_close(layer.running_mean, torch.full((3,), 0.1 * 1.5))
    unbiased = 1.25 * 8 / 7
    torch.testing.assert_close(layer.running_var, torch.full((3,), 0.9 + 0.1 * unbiased))
    torch.testing.assert_close(y[0, 0, 0, 0, 0].item(), ALPHA * VTH * -1.5 / math.sqrt(1.25 + 1e-5))
    assert layer.num_batches_tracked == 1


def test_eval_is_the_equation_with_running_statistics() -> None:
    layer = settled(norm()).eval()
    x = torch.randn(7, 3, 4, 4)
    torch.testing.assert_close(layer(x), tdbn(x, layer, layer.running_mean, layer.running_var))
    assert layer.num_batches_tracked == 0


def test_the_dialects_are_told_apart_by_what_weight_means() -> None:
    forward, init = norm("forward"), norm("init")
    assert forward.weight.tolist() == [1.0] * 3
    torch.testing.assert_close(init.weight, torch.full((3,), ALPHA * VTH))
    assert (forward.factor, init.factor) == (ALPHA * VTH, 1.0)
    x = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(forward(x), init(x))
    wrong = norm("init")
    wrong.load_state_dict(forward.state_dict())
    torch.testing.assert_close(wrong.eval()(x), forward.eval()(x) / (ALPHA * VTH))


@pytest.mark.parametrize("dialect", ["forward", "init"])
def test_folding_gives_the_spikes_of_the_unfused_network(dialect: str) -> None:
    source = imported(lively_resnet(dialect), (2, 12, 12))
    x = values(source)
    found = check_import(source, x)
    assert found.different == 0, found.detail
    assert found.compared > 10_000
    assert all(0.01 < spikes.mean() < 0.99 for name, spikes in run_module(source, x).items() if "stages" in name)


def test_folding_the_other_dialect_gives_other_spikes() -> None:
    network = lively_resnet("forward")
    other = lively_resnet("init")
    other.load_state_dict(network.state_dict())
    x = torch.randn(4, 3, 2, 12, 12)
    with torch.no_grad():
        assert (network.stages[0](network.stem_lif(network.stem(x))) != other.stem_lif(other.stem(x))[:, :, :3]).any()
        rates = [float(m.stem_lif(m.stem(x)).mean()) for m in (network, other)]
    assert rates[1] > 1.2 * rates[0]


def lively_resnet(dialect: str) -> TdbnResNet:
    """Every BatchNorm with numbers of its own, small enough that neurons neither rest nor fire all the time."""
    torch.manual_seed(1)
    network = TdbnResNet(
        in_channels=2, channels=(3, 4), blocks=(1, 2), stem=3, hidden=6, classes=3, threshold=VTH, dialect=dialect
    )
    for index, layer in enumerate(network.modules()):
        if isinstance(layer, ThresholdDependentBatchNorm2d):
            start = float(layer.weight[0].detach())
            generator = torch.Generator().manual_seed(index)
            nn.init.uniform_(layer.weight, 0.5 * start, 2 * start, generator=generator)
            nn.init.uniform_(layer.bias, -0.1, 0.2, generator=generator)
            nn.init.uniform_(layer.running_mean, -0.2, 0.2, generator=generator)
            nn.init.uniform_(layer.running_var, 0.1, 0.5, generator=generator)
    return network.eval()


def test_published_sizes() -> None:
    assert count(tdbn_resnet19()) == 12_630_858
    assert count(tdbn_resnet19(stem=128)) == 12_697_994
    assert count(tdbn_resnet34()) == 21_797_672  # torchvision's ResNet-34
    assert count(tdbn_resnet50()) == 25_557_032  # torchvision's ResNet-50


def test_resnet19_has_the_layout_of_the_paper() -> None:
    model = tdbn_resnet19()
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, TdbnBlock):
            layer.register_forward_hook(lambda _m, _a, out, name=name: shapes.__setitem__(name, tuple(out.shape[2:])))
    with torch.no_grad():
        out = model.eval()(torch.rand(1, 3, 32, 32).expand(2, 1, 3, 32, 32))
    assert list(shapes.values()) == [(128, 32, 32)] * 3 + [(256, 16, 16)] * 3 + [(512, 8, 8)] * 2
    assert out.shape == (2, 1, 10)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert (len(convs), [m.out_features for m in linears]) == (17, [256, 10])
    assert neurons(model, torch.rand(1, 1, 3, 32, 32)) == 1_376_522


@pytest.mark.parametrize("make", [tdbn_resnet34, tdbn_resnet50])
def test_imagenet_networks_run(make) -> None:  # type: ignore[no-untyped-def]
    model = make(classes=7).eval()
    seen: list[tuple[int, ...]] = []
    model.stages.register_forward_hook(lambda _m, args, out: seen.extend([tuple(args[0].shape), tuple(out.shape)]))
    with torch.no_grad():
        out = model(torch.rand(1, 1, 3, 224, 224))
    assert seen[0] == (1, 1, 64, 56, 56)
    assert seen[1][3:] == (7, 7)
    assert out.shape == (1, 1, 7)


def test_branches_share_the_variance_and_identity_is_unscaled() -> None:
    model = TdbnResNet(in_channels=1, channels=(4, 8), blocks=(2, 1), strides=(1, 3), stem=4)
    first, second, third = model.stages[0][0], model.stages[0][1], model.stages[1][0]
    assert isinstance(first.shortcut, nn.Identity)
    assert isinstance(second.shortcut, nn.Identity)
    assert third.shortcut.conv.stride == (3, 3)
    assert [layer.bn.alpha for layer in (third.branch.conv1, third.branch.conv2, third.shortcut)] == [1, BRANCH, BRANCH]
    neuron = third.lif
    assert isinstance(neuron, IterativeLIF)
    assert (neuron.decay, neuron.v_threshold, neuron.v_reset, neuron.comparison) == (0.25, 0.5, 0.0, "gt")


def test_a_new_network_fires_everywhere() -> None:
    """What tdBN is for, and what the start of the FC layers is for: rates near P(x > Vth) = 0.159, none silent."""
    model = TdbnResNet(in_channels=1, channels=(8, 16), blocks=(2, 1), stem=8, hidden=64)
    rates: list[float] = []
    for layer in model.modules():
        if isinstance(layer, IterativeLIF):
            layer.register_forward_hook(lambda _m, _a, out: rates.append(float(out.detach().mean())))
    model(torch.rand(20, 1, 16, 16).expand(4, 20, 1, 16, 16))
    assert len(rates) == 9
    assert all(RATE / 3 < rate < RATE * 3 for rate in rates), rates


def test_refusals() -> None:
    with pytest.raises(SnnhwError, match="no such dialect of tdBN") as dialect:
        ThresholdDependentBatchNorm2d(3, VTH, dialect="both")
    assert dialect.value.code == "bad-dialect"
    for wrong in ({"strides": (1,)}, {"blocks": (1, 0)}, {"block": "wide"}, {"channels": ()}):
        with pytest.raises(SnnhwError, match="the tdBN ResNet cannot be built") as caught:
            TdbnResNet(**{"channels": (4, 8), "blocks": (1, 1), **wrong})
        assert caught.value.code == "bad-network"


@pytest.mark.parametrize("name", ["tdbn_resnet", "tdbn_resnet_smoke"])
def test_recipes_build(name: str) -> None:
    recipe = RECIPES[name]
    assert build(recipe.kind, recipe.config)(torch.rand(2, 2, 1, 28, 28)).shape == (2, 2, 10)


def test_the_shipped_network_classifies_the_shipped_images(examples: Path) -> None:
    path = examples / "tdbn_resnet.pt"
    model, content = load_model(path)
    assert path.stat().st_size < 700_000
    with np.load(examples / "fashion_mnist_500.npz") as file:
        x, y = torch.tensor(file["x"]), torch.tensor(file["y"])
    found = accuracy(model, x, y, encoding="direct", steps=4, readout="rate")
    assert found > content["metrics"]["test_accuracy"] - 0.02  # the first images of the test set are easy ones
    assert content["metrics"]["test_accuracy"] > 0.8
