"""The full-size networks: the authors' keys, the paper's sizes, and what the compiler reads (W15)."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.neurons import IF, PLIF, Neuron
from snnhw.zoo.registry import build
from snnhw.zoo.residual import CONNECTS
from snnhw.zoo.resnet import Block, Named, ResNet, sew_resnet, spiking_resnet
from tests.unit.zoo.nets import LeafTracer, functions, neurons, spikes

DEPTHS = [18, 34, 50, 101, 152]
MAKERS: list[Callable[..., ResNet]] = [sew_resnet, spiking_resnet]
STAGES = {18: "2 2 2 2", 34: "3 4 6 3", 50: "3 4 6 3", 101: "3 4 23 3", 152: "3 8 36 3"}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def small(make: Callable[..., ResNet], depth: int = 18, **options: Any) -> ResNet:
    return make(depth, **{"classes": 5, "image_size": 32, "width": 4, **options}).eval()


@pytest.mark.parametrize(
    ("depth", "parameters", "cells"),
    [
        (18, 11_689_512, 2_483_712),
        (34, 21_797_672, 3_738_112),
        (50, 25_557_032, 11_113_984),
        (101, 44_549_160, 16_231_936),
        (152, 60_192_808, 22_554_112),
    ],
)
def test_sizes_are_the_papers(depth: int, parameters: int, cells: int) -> None:
    """Published: 11.69, 21.80, 25.56, 44.55, 60.19 M parameters; the shortcuts' neurons are SEW's alone."""
    with torch.device("meta"):
        sew, spiking = sew_resnet(depth).eval(), spiking_resnet(depth).eval()
        x = torch.empty(1, 1, 3, 224, 224)
        assert neurons(sew, x) == cells
        shortcuts = (128 * 28**2 + 256 * 14**2 + 512 * 7**2) * (1 if depth < 50 else 4)
        if depth == 18:
            assert neurons(spiking, x) == cells - shortcuts
    for model in (sew, spiking):
        assert sum(p.numel() for p in model.parameters()) == parameters


def keys(depth: int, downsample: str) -> set[str]:
    """Keys as the published checkpoints have them, without the ``.module`` of the older code."""

    def conv_bn(at: str) -> set[str]:
        return {f"{at}.0.weight", *(f"{at}.1.{name}" for name in NORM)}

    wanted = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{name}" for name in NORM)}
    for layer, count in enumerate(map(int, STAGES[depth].split()), 1):
        for block in range(count):
            for conv in range(1, 3 if depth < 50 else 4):
                wanted |= conv_bn(f"layer{layer}.{block}.conv{conv}")
        if layer > 1 or depth >= 50:
            wanted |= conv_bn(f"layer{layer}.0.{downsample}")
    return wanted


@pytest.mark.parametrize("depth", DEPTHS)
def test_keys_are_the_authors(depth: int) -> None:
    with torch.device("meta"):
        assert set(sew_resnet(depth).state_dict()) == keys(depth, "downsample.0")
        assert set(spiking_resnet(depth).state_dict()) == keys(depth, "downsample")


def test_shapes_of_some_keys() -> None:
    with torch.device("meta"):
        state = sew_resnet(50).state_dict()
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.conv1.0.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.0.weight": (256, 64, 1, 1),
        "layer2.0.conv1.0.weight": (128, 256, 1, 1),
        "layer2.0.conv2.0.weight": (128, 128, 3, 3),
        "layer4.2.conv3.0.weight": (2048, 512, 1, 1),
        "fc.weight": (1000, 2048),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("depth", [18, 50])
def test_bottlenecks_stride_in_their_3x3_convolution(make: Callable[..., ResNet], depth: int) -> None:
    block = small(make, depth).get_submodule("layer2.0")
    found = {name: m.stride for name, m in block.named_modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)}
    down = "downsample.0.0" if make is sew_resnet else "downsample.0"
    assert found == {"conv1.0" if depth == 18 else "conv2.0": (2, 2), down: (2, 2)}


def test_the_plain_names_load_save_and_copy() -> None:
    torch.manual_seed(0)
    one, other = small(sew_resnet), small(sew_resnet)
    x = torch.rand(2, 2, 3, 32, 32) * 3
    with torch.no_grad():
        assert not torch.equal(one.conv1(x), other.conv1(x))
        other.load_state_dict(one.state_dict(), strict=True)
        assert torch.equal(one(x), other(x))
        assert torch.equal(copy.deepcopy(one)(x), one(x))
    assert set(copy.deepcopy(one).state_dict()) == set(one.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        one.load_state_dict({key: value for key, value in one.state_dict().items() if key != "conv1.weight"})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        one.load_state_dict({**one.state_dict(), "bn1.gamma": torch.zeros(4)})


def test_a_named_layer_runs_at_every_step() -> None:
    layer = nn.Linear(3, 2)
    x = torch.rand(4, 5, 3)
    torch.testing.assert_close(Named(layer)(x), layer(x))
    assert list(Named(layer).state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("make", MAKERS)
def test_forward_is_stem_stages_pool_and_classifier(make: Callable[..., ResNet], depth: int) -> None:
    torch.manual_seed(0)
    model = small(make, depth, v_threshold=0.5, in_channels=2)
    assert {m.v_threshold for m in model.modules() if isinstance(m, Neuron)} == {0.5}
    assert model.input_shape == (2, 32, 32)
    x = torch.rand(3, 2, 2, 32, 32) * 3
    with torch.no_grad():
        stem = IF(v_threshold=0.5)(torch.stack([model.bn1.once(model.conv1.once(x_t)) for x_t in x]))
        s = torch.stack([nn.functional.max_pool2d(s_t, 3, 2, padding=1) for s_t in stem])
        assert set(s.unique().tolist()) == {0.0, 1.0}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            s = model.get_submodule(name)(s)
        assert s.shape == (3, 2, 32 * (1 if depth == 18 else 4), 1, 1)
        out = model(x)
        torch.testing.assert_close(out, model.fc(s.mean((3, 4))))
        static = x[0].expand(3, *x[0].shape)
        torch.testing.assert_close(model(static), model(static.contiguous()))
    assert out.shape == (3, 2, 5)


@pytest.mark.parametrize("make", MAKERS)
def test_traced_networks_compute_the_same(make: Callable[..., ResNet]) -> None:
    torch.manual_seed(0)
    model = small(make, 50)
    x = torch.rand(2, 1, 3, 32, 32) * 3
    with torch.no_grad():
        assert torch.equal(fx.GraphModule(model, LeafTracer().trace(model))(x), model(x))
    assert {target for target, _ in functions(model)} == {operator.add}


@pytest.mark.parametrize("bottleneck", [False, True])
def test_iand_keeps_its_operand_order_in_bottlenecks_too(bottleneck: bool) -> None:
    """SpikingJelly's bottleneck has out (1 - identity); the authors' code has identity (1 - out)."""
    torch.manual_seed(0)
    block = Block(4, 4 if not bottleneck else 1, 1, IF, "IAND", bottleneck).eval()
    s = spikes(3, 2, 4, 5, 5)
    with torch.no_grad():
        assert bool((block(s) <= s).all())
        calls = functions(block)
    assert [target for target, _ in calls] == [operator.sub, operator.mul]
    assert [str(arg) for arg in calls[1][1]] == ["downsample", "sub"]


@pytest.mark.parametrize("neuron", ["if", "plif"])
@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("depth", [18, 50])
def test_identity_initialisation(depth: int, connect: str, neuron: str) -> None:
    model = small(sew_resnet, depth, connect=connect, neuron=neuron, zero_init=True)
    assert {type(m) for m in model.modules() if isinstance(m, Neuron)} == {IF if neuron == "if" else PLIF}
    s = spikes(4, 1, 16 if depth == 50 else 4, 6, 6)
    with torch.no_grad():
        assert torch.equal(model.get_submodule("layer1.1")(s), s)
        # the official beta of AND is 1 with IF: the drive that just reaches the threshold
        last = model.get_submodule(f"layer1.1.conv{2 if depth == 18 else 3}.1")
        assert isinstance(last, nn.BatchNorm2d)
        assert set(last.bias.tolist()) == ({1.0 if neuron == "if" else 2.0} if connect == "AND" else {0.0})


def test_spiking_resnet_starts_as_identity_with_if() -> None:
    model = small(spiking_resnet, 50, zero_init=True)
    s = spikes(4, 1, 16, 6, 6)
    with torch.no_grad():
        assert torch.equal(model.get_submodule("layer1.1")(s), s)


def test_the_kinds_take_plain_configurations() -> None:
    config = {"depth": 34, "classes": 3, "image_size": 16, "width": 2}
    sew = build("sew_resnet_imagenet", {**config, "connect": "AND"})
    spiking = build("spiking_resnet_imagenet", config)
    x = torch.rand(1, 2, 3, 16, 16)
    assert sew(x).shape == spiking(x).shape == (1, 2, 3)


@pytest.mark.parametrize("options", [{"depth": 20}, {"width": 0}, {"image_size": 0}, {"classes": 0}])
def test_other_depths_and_empty_sizes_are_refused(options: dict[str, int]) -> None:
    for make in MAKERS:
        with pytest.raises(SnnhwError) as caught:
            make(**options)
        assert str(caught.value).startswith("bad-network: no ResNet of this depth and size\n  where: ResNet\n")
    with pytest.raises(SnnhwError, match="unknown-connect"):
        sew_resnet(connect="add")
    with pytest.raises(SnnhwError, match="unknown-neuron"):
        spiking_resnet(neuron="tdbn")
