"""ANN-to-SNN conversion: rates approach activations, sums are balanced, and what spikes cannot stand for is refused."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from snnhw.errors import SnnhwError
from snnhw.frontends.ann import convert
from snnhw.zoo.ann import AnnCnn, ReluBlock
from snnhw.zoo.checkpoint import load_model
from snnhw.zoo.containers import PerStep
from snnhw.zoo.conversion import ConvertedAnn
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.encode import encode
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.neurons import IF
from snnhw.zoo.percentile import layer_percentiles
from snnhw.zoo.registry import RECIPES, build
from snnhw.zoo.sew import SewResNet
from snnhw.zoo.train import train


class Flow(nn.Module):
    """A module whose forward is a function of its layers."""

    def __init__(self, flow: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.flow = flow

    def forward(self, x: Tensor) -> Any:
        return self.flow(self, x)


def settled(module: nn.Module, seed: int, shape: tuple[int, ...] = (1, 8, 8)) -> nn.Module:
    """The module with BatchNorm statistics and affine numbers away from where they start."""
    torch.manual_seed(seed)
    module.train()
    for _ in range(3):
        module(torch.rand(64, *shape))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2.0)
            nn.init.uniform_(layer.bias, -0.3, 0.5)
    return module.eval()


def network(seed: int, order: str = "after") -> nn.Module:
    torch.manual_seed(seed)
    return settled(AnnCnn(channels=(4, 6), blocks=(1, 1), classes=3, order=order), seed)


@torch.no_grad()
def distance(ann: nn.Module, snn: nn.Module, x: Tensor, steps: int) -> float:
    """Largest difference of the mean output from the ReLU network's, over the outputs' standard deviation."""
    want = copy.deepcopy(ann).double()(x.double())
    have = snn(encode(x, "direct", steps, torch.Generator())).mean(0)
    return float((have - want).abs().max() / want.std())


@pytest.mark.parametrize("order", ["after", "before"])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_mean_output_approaches_the_ann_as_t_grows(order: str, seed: int) -> None:
    ann = network(seed, order)
    torch.manual_seed(seed + 1)
    x = torch.rand(8, 1, 8, 8)
    snn = convert(ann, x, percentile=100.0)
    near, far = distance(ann, snn, x, 512), distance(ann, snn, x, 32)
    assert near < 0.1
    assert near < far / 4  # 1/T promises a sixteenth


def test_rates_times_scale_are_activations() -> None:
    ann, x = network(3), torch.rand(8, 1, 8, 8)
    snn = convert(ann, x, percentile=100.0)
    wanted: dict[str, Tensor] = {}
    for name, layer in ann.named_modules():
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda _m, _i, out, name=name: wanted.update({name.replace(".", "_"): out}))
    rates: dict[str, Tensor] = {}
    for name, layer in snn.named_modules():
        if isinstance(layer, IF):
            layer.register_forward_hook(lambda _m, _i, out, name=name: rates.update({name: out.mean(0)}))
    steps = 400
    with torch.no_grad():
        ann(x)
        snn(encode(x, "direct", steps, torch.Generator()))
    assert set(rates) == set(wanted) == set(snn.scales)
    for name, rate in rates.items():
        assert float((rate * snn.scales[name] - wanted[name]).abs().max()) < 0.05 * snn.scales[name], name


def test_hard_reset_loses_what_soft_reset_keeps() -> None:
    ann, x = network(5), torch.rand(8, 1, 8, 8)
    soft, hard = convert(ann, x, percentile=100.0), convert(ann, x, percentile=100.0, reset="zero")
    assert {layer.v_reset for layer in hard.modules() if isinstance(layer, IF)} == {0.0}
    assert distance(ann, hard, x, 256) > 3 * distance(ann, soft, x, 256)


def test_summands_share_one_scale() -> None:
    """One summand ten times as large as the other: with a scale each, a spike would mean two things in one sum."""
    torch.manual_seed(0)
    ann = Flow(
        lambda m, x: m.out((m.relu_a(m.a(x)) + m.relu_b(m.b(x))).flatten(1)),
        a=nn.Conv2d(1, 3, 3), relu_a=nn.ReLU(), b=nn.Conv2d(1, 3, 3), relu_b=nn.ReLU(), out=nn.Linear(48, 2),
    )  # fmt: skip
    with torch.no_grad():
        ann.a.weight.mul_(10.0)
    x = torch.rand(16, 1, 6, 6)
    snn = convert(ann, x, percentile=100.0)
    assert (
        snn.scales["relu_a"]
        == snn.scales["relu_b"]
        == pytest.approx(float(ann.relu_a(ann.a(x)).detach().max()), rel=1e-6)
    )
    assert distance(ann, snn, x, 400) < 0.1


def test_a_saturated_rate_is_the_scale() -> None:
    ann = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    for layer in (ann[0], ann[2]):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    snn = convert(ann, torch.tensor([[2.0]]))
    out = snn(torch.tensor([[1.0], [2.0], [4.0]]).expand(10, 3, 1))
    assert out.mean(0).flatten().tolist() == [1.0, 2.0, 2.0]


@given(st.integers(0, 10_000), st.floats(50.0, 100.0))
@settings(max_examples=25, deadline=None)
def test_percentiles_are_numpys(seed: int, percentile: float) -> None:
    x = torch.rand(150, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = layer_percentiles(nn.Sequential(nn.Identity()), ["0"], x, percentile)
    assert found["0"] == pytest.approx(np.percentile(x.numpy(), percentile), rel=1e-9)


def test_a_checkpoint_s_configuration_rebuilds_the_network() -> None:
    ann, x = network(1), torch.rand(4, 1, 8, 8)
    snn = convert(ann, x)
    again = build("converted_ann", json.loads(json.dumps(snn.config))).eval()
    again.load_state_dict(snn.state_dict())
    sequence = encode(x, "direct", 8, torch.Generator())
    assert torch.equal(again(sequence), snn(sequence))
    assert float(snn(sequence).detach().abs().max()) > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].pop("op"),
        lambda rows: rows[0].update(op="max_pool2d"),
        lambda rows: rows[0].update(kernel_size="large"),
        lambda rows: rows[1].update(scale=None),
        lambda rows: rows[1].update(inputs=["nowhere"]),
        lambda rows: rows.clear(),
    ],
)
def test_damaged_configurations_are_refused(change: Callable[[Any], Any]) -> None:
    config = json.loads(json.dumps(convert(network(1), torch.rand(4, 1, 8, 8)).config))
    change(config["layers"])
    with pytest.raises(SnnhwError, match="bad-network: the converted network cannot be rebuilt from these layers"):
        build("converted_ann", config)


def test_functions_and_nothing_layers_are_read() -> None:
    torch.manual_seed(0)

    def flow(m: Any, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(m.norm(m.same(m.conv(x)))), 2)
        x = m.drop(functional.adaptive_avg_pool2d(x.relu(), (2, 2)))
        return m.out(torch.flatten(x, 1))

    ann = Flow(
        flow, conv=nn.Conv2d(1, 3, 3), same=nn.Identity(), norm=nn.BatchNorm2d(3), drop=nn.Dropout(),
        out=nn.Linear(12, 2),
    )  # fmt: skip
    ann = settled(ann, 2, (1, 10, 10))
    x = torch.rand(6, 1, 10, 10)
    snn = convert(ann, x, percentile=100.0)
    assert list(snn.scales) == ["relu", "relu_2"]
    assert distance(ann, snn, x, 600) < 0.1


def test_perstep_counts_as_its_layers_and_stays_as_it_is() -> None:
    layers = PerStep(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    before = copy.deepcopy(layers.state_dict())
    snn = convert(layers, torch.rand(10, 3))
    assert isinstance(snn, ConvertedAnn)
    assert [row["op"] for row in snn.config["layers"]] == ["linear", "if", "linear"]
    assert all(torch.equal(value, before[key]) for key, value in layers.state_dict().items())


class Leaky(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x)


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), *layers)


NAN = chain(nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
nn.init.constant_(NAN[3].bias, float("nan"))
DEAD = chain(nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
nn.init.constant_(DEAD[0].bias, -100.0)
COUNT = itertools.count(1)
REFUSED: list[tuple[nn.Module, str]] = [
    (
        chain(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 2)),
        "unknown-layer: layers of type MaxPool cannot be converted to spikes\n  where: 2\n",
    ),
    (chain(nn.ReLU(), nn.MaxPool2d(2)), "hint: train with average pooling"),
    (chain(nn.Sigmoid()), "unknown-operation: an operation cannot be converted to spikes\n  where: 1: sigmoid\n"),
    (chain(nn.Softmax(1)), "hint: leave it out"),
    (
        Flow(lambda m, x: functional.max_pool2d(m.c(x), 2), c=nn.Conv2d(1, 2, 3)),
        "unknown-layer: layers of type MaxPool cannot be converted to spikes\n  where: max_pool2d\n",
    ),
    (
        Flow(lambda m, x: m.c(x) * 2.0, c=nn.Conv2d(1, 2, 3)),
        "unknown-layer: layers of type Scale cannot be converted to spikes\n  where: mul\n",
    ),
    (Flow(lambda m, x: m.c(x) * m.c(x), c=nn.Conv2d(1, 2, 3)), "unknown-operation: an operation cannot be converted"),
    (
        chain(nn.BatchNorm2d(2, track_running_stats=False)),
        "unsupported-option: a BatchNorm uses the statistics of the batch even in eval mode\n  where: 1: batch_norm\n",
    ),
    (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")),
        "unsupported-option: only padding of an image's own axes with zeros is supported\n  where: 0: pad\n",
    ),
    (
        chain(nn.AvgPool2d(3, ceil_mode=True)),
        "unsupported-option: ceil_mode, divisor_override and count_include_pad=False are not in NIR",
    ),
    (chain(nn.Flatten(2)), "unknown-layer: layers of type Flatten cannot be converted to spikes\n  where: 1"),
    (nn.Identity(), "inputs-outputs: forward returns 0 values of layers\n  where: forward\n"),
    (NAN, "not-finite: weights of the ReLU network are NaN or infinite\n  where: 3"),
    (DEAD, "silent-layer: a ReLU is zero on all samples, so no threshold can be chosen\n  where: 1"),
    (chain(nn.ReLU()), "unconvertible: the network ends in a ReLU, so that no mean of a linear layer can be read out"),
    (
        nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)),
        "unconvertible: a ReLU or a sum gets the input itself, whose scale is not free\n  where: 0",
    ),
    (
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1)),
        "bad-shape: the module does not take the example input: ",
    ),
    (
        Flow(
            lambda m, x: functional.linear(m.c(x).flatten(1), torch.ones(2, 72).to(x) * next(COUNT)),
            c=nn.Conv2d(1, 2, 3),
        ),
        "not-equal: the layers read from the ReLU network give another result than the network itself",
    ),
    (chain(Leaky()), "unsupported-neuron: ReLU network: Leaky has a forward of its own: its equation is not known"),
]


@pytest.mark.parametrize(("module", "text"), REFUSED, ids=[text[:60].split("\n")[0] for _, text in REFUSED])
def test_refusals_name_layer_and_reason(module: nn.Module, text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        convert(module.eval(), torch.rand(4, 1, 8, 8))
    assert text in str(caught.value)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        return self.fc(input=x)


def test_two_arguments_are_refused() -> None:
    with pytest.raises(SnnhwError, match="bad-shape: the module does not take the example input"):
        convert(Two(), torch.rand(2, 3))


FREE = {
    "a keyword": Named(),
    "BatchNorm behind a ReLU": settled(chain(nn.ReLU(), nn.BatchNorm2d(2)), 1),
    "BatchNorm of a value that is shared": settled(
        Flow(lambda m, x: m.n(h := m.c(x)) + h, c=nn.Conv2d(1, 2, 3), n=nn.BatchNorm2d(2)), 1
    ),
    "in place, and used again": Flow(
        lambda m, x: m.d(torch.relu_(h := m.c(x)) + h), c=nn.Conv2d(1, 2, 3), d=nn.Conv2d(2, 2, 3)
    ),
    "a mean over pixels": Flow(lambda m, x: m.d(m.c(x).relu().mean((2, 3))), c=nn.Conv2d(1, 2, 3), d=nn.Linear(2, 3)),
    "a branch on the shape": Flow(lambda m, x: m.c(x) if x.shape[1] == 1 else x, c=nn.Conv2d(1, 2, 3)),
}


@pytest.mark.parametrize("name", FREE)
def test_what_forward_may_do(name: str) -> None:
    ann = FREE[name].eval()
    x = torch.rand(6, 3) if isinstance(ann, Named) else torch.rand(6, 1, 8, 8)
    assert distance(ann, convert(ann, x, percentile=100.0), x, 400) < 0.1


@pytest.mark.parametrize("start", [1.5, float("nan")])
def test_a_membrane_cannot_start_above_its_threshold(start: float) -> None:
    with pytest.raises(SnnhwError, match="bad-threshold: the membrane cannot start there\n  where: IF"):
        IF(v_init=start)


def test_a_membrane_starts_where_it_is_told_in_training_too() -> None:
    x = torch.full((4, 1), 0.3)
    wanted = [0.0, 1.0, 0.0, 0.0]  # 0.8, 1.1 - 1, 0.4, 0.7
    assert IF(v_reset=None, v_init=0.5)(x).flatten().tolist() == wanted
    assert IF(v_reset=None, v_init=0.5)(x.requires_grad_()).flatten().tolist() == wanted


@pytest.mark.parametrize("options", [{"v_init": 1.0}, {"reset": "soft"}, {"percentile": 0.0}, {"percentile": 101.0}])
def test_wrong_arguments_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SnnhwError, match="bad-conversion: the conversion cannot be done with these arguments"):
        convert(nn.Linear(2, 2), torch.rand(2, 2), **options)


def largest(blocks: nn.Module, x: Tensor) -> list[float]:
    """Largest value after every block."""
    found = []
    with torch.no_grad():
        for block in blocks:
            x = block(x)
            found.append(float(x.max()))
    return found


def test_relu_before_addition_grows_without_bound_where_sew_does_not() -> None:
    """W7 (SEW ResNet, section 3.3): weights scale the RBA branch freely; a spike is 1 whatever the weights are."""
    torch.manual_seed(0)
    depth, images = 12, torch.rand(4, 4, 8, 8)
    small, large = (nn.Sequential(*(ReluBlock(4, "before") for _ in range(depth))).eval() for _ in range(2))
    large.load_state_dict({k: 3.0 * v if "conv.weight" in k else v for k, v in small.state_dict().items()})
    grown = largest(large, images)
    assert all(after >= before for before, after in itertools.pairwise(grown)), "ReLU(F(x)) + x >= x"
    assert grown[-1] > 1000
    assert grown[-1] > 100 * largest(small, images)[-1]
    sew = SewResNet(channels=(4,), blocks=(depth,), image_size=8).eval()
    sew.load_state_dict({k: 30.0 * v if "conv.weight" in k else v for k, v in sew.state_dict().items()})
    spikes = (torch.rand(5, 4, 4, 8, 8) < 0.5).float()
    bounded = largest(sew.stages[0], spikes)
    assert all(value <= k + 1 for k, value in enumerate(bounded, 1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ReluBlock(2, "around"), "bad-network: the ReLU block cannot be built\n  where: ReluBlock(order=)"),
        (lambda: AnnCnn(channels=(4, 4), blocks=(1,)), "bad-network: the ReLU network cannot be built\n"),
    ],
)
def test_networks_that_cannot_be_built(make: Callable[[], nn.Module], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        make()
    assert str(caught.value).startswith(text)


def test_the_recipe_trains_a_relu_network_and_ships_its_conversion(tmp_path: Path) -> None:
    """Resumed or not, the same checkpoint; its accuracy is that of the spiking network it holds."""
    whole = train("ann_cnn_smoke", tmp_path / "whole.pt", log=lambda _: None, convert=convert)
    train("ann_cnn_smoke", tmp_path / "half.pt", log=lambda _: None, epochs=1, convert=convert)
    half = train("ann_cnn_smoke", tmp_path / "half.pt", log=lambda _: None, resume=True, convert=convert)
    model, content = load_model(tmp_path / "whole.pt")
    assert isinstance(model, ConvertedAnn)
    assert (content["network"]["kind"], content["deploy"]["steps"]) == ("converted_ann", 8)
    assert content["network"]["config"] == half["network"]["config"] == whole["network"]["config"]
    assert all(torch.equal(value, half["model"][key]) for key, value in content["model"].items())
    data = dataset_of("examples")
    found = accuracy(model, data.x_test, data.y_test, encoding="direct", steps=8, readout="mean")
    assert found == content["metrics"]["test_accuracy"]
    assert "unconverted_accuracy" in content["metrics"]


def test_recipes_name_what_they_deploy() -> None:
    for name in ("ann_cnn", "ann_cnn_smoke"):
        recipe = RECIPES[name]
        assert (recipe.kind, recipe.steps, recipe.readout) == ("ann_cnn", 1, "mean")
        assert recipe.convert_steps > 1


def test_a_recipe_that_converts_needs_the_front_end(tmp_path: Path) -> None:
    with pytest.raises(SnnhwError) as caught:
        train("ann_cnn_smoke", tmp_path / "m.pt", log=lambda _: None, epochs=1)
    assert str(caught.value) == (
        "needs-converter: the recipe's network becomes a spiking one, which a front end does\n"
        "  where: ann_cnn_smoke\n  needed: train(..., convert=snnhw.frontends.ann.convert)\n"
        "  hint: snnhw train does so"
    )
