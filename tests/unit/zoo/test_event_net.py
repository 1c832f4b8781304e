"""7B-Net and Wide-7B-Net: published sizes and keys, the three connect functions, and what the compiler reads."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from snnhw.errors import SnnhwError
from snnhw.frontends.check import check_import, run_module
from snnhw.zoo.event_net import CONNECTS, BasicBlock, EventNet, PlainBlock, SevenBNet, SEWBlock, WideSevenBNet
from snnhw.zoo.neurons import PLIF
from snnhw.zoo.registry import RECIPES, build
from tests.unit.frontends.modules import imported, values
from tests.unit.zoo.nets import lively, neurons, spikes

SMALL = [
    {"channels": 4, "up_kernel_size": 1},
    {"channels": 4, "num_blocks": 1, "k_pool": 2},
    {"channels": 6, "up_kernel_size": 3, "num_blocks": 2, "mid_channels": 5},
]
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def conv_bn_keys(prefix: str) -> set[str]:
    return {f"{prefix}.0.weight"} | {f"{prefix}.1.{name}" for name in BN}


def conv_plif_keys(prefix: str) -> set[str]:
    return conv_bn_keys(f"{prefix}.0") | {f"{prefix}.1.w"}


def block_keys(index: int) -> set[str]:
    return conv_plif_keys(f"conv.{index}.conv.0") | conv_plif_keys(f"conv.{index}.conv.1")


def test_published_sizes() -> None:
    assert count(SevenBNet()) == 130_426
    assert count(WideSevenBNet()) == 1_192_218
    image = torch.zeros(1, 1, 2, 128, 128)
    # stem 32 x 128^2, then blocks of 2 x 32 x side^2 from 128 down to 2
    assert neurons(SevenBNet().eval(), image) == 32 * 128**2 + sum(64 * (128 >> i) ** 2 for i in range(7))
    assert SevenBNet().eval()(image).shape == (1, 1, 11)
    assert WideSevenBNet().eval()(image).shape == (1, 1, 10)


def test_keys_of_7b_net_are_the_published_ones() -> None:
    """seeds: stem conv.0, blocks at odd places, pools at even ones without keys."""
    wanted = conv_plif_keys("conv.0") | {"out.weight", "out.bias"}
    for index in range(1, 14, 2):
        wanted |= block_keys(index)
    assert set(SevenBNet().state_dict()) == wanted
    assert SevenBNet().state_dict()["conv.0.0.0.weight"].shape == (32, 2, 1, 1)


def test_keys_of_wide_7b_net_are_the_published_ones() -> None:
    wanted = conv_plif_keys("conv.0") | conv_plif_keys("conv.9") | {"out.weight", "out.bias"}
    for index in (1, 3, 5, 7, 10, 12, 14):
        wanted |= block_keys(index)
    state = WideSevenBNet().state_dict()
    assert set(state) == wanted
    assert state["conv.9.0.0.weight"].shape == (128, 64, 1, 1)


def test_keys_of_the_spiking_resnet_baseline() -> None:
    layers = [{"channels": 4, "up_kernel_size": 1}, {"channels": 4, "num_blocks": 1}]
    keys = set(EventNet(layers, image_size=4, block="basic").state_dict())
    block = {key for key in keys if key.startswith("conv.1.")}
    assert block == conv_plif_keys("conv.1.conv.0") | conv_bn_keys("conv.1.conv.1") | {"conv.1.sn.w"}
    plain = set(EventNet(layers, image_size=4, block="plain").state_dict())
    assert {key for key in plain if key.startswith("conv.1.")} == block_keys(1)


def test_keys_match_the_published_ones_but_for_their_containers() -> None:
    published = "conv.3.conv.1.0.module.1.running_var"
    assert re.sub(r"module\.", "", published) in SevenBNet().state_dict()


@pytest.mark.parametrize("connect", CONNECTS)
def test_connect_functions(connect: str) -> None:
    block = lively(SEWBlock(3, 5, connect, "atan"), seed=2)
    s = spikes(6, 2, 3, 8, 8)
    with torch.no_grad():
        a, out = block.conv(s), block(s)
    wanted = {"ADD": a + s, "AND": (a == 1) & (s == 1), "IAND": (s == 1) & (a == 0)}[connect]
    assert 0.005 < a.mean() < 0.995
    assert torch.equal(out, wanted.to(s.dtype))


@pytest.mark.parametrize(("connect", "bound"), [("ADD", 8), ("AND", 1), ("IAND", 1)])
def test_outputs_stay_within_the_bounds(connect: str, bound: int) -> None:
    """ADD grows by one a block, seven blocks after a binary stem; AND and IAND stay binary."""
    net = SevenBNet(channels=4, pools=(1,) * 7, image_size=4, connect=connect).eval()
    for block in net.conv:
        if isinstance(block, SEWBlock):
            nn.init.constant_(block.conv[1][0][1].bias, 9.0 if connect != "IAND" else -9.0)
    nn.init.constant_(net.conv[0][0][1].bias, 9.0)
    with torch.no_grad():
        out = net.conv(torch.rand(3, 1, 2, 4, 4))
    assert set(out.unique().tolist()) == {float(bound)}


def test_baseline_blocks() -> None:
    x = spikes(5, 2, 3, 6, 6)
    basic, plain = lively(BasicBlock(3, 4, "atan")), lively(PlainBlock(3, 4, "atan"))
    with torch.no_grad():
        assert torch.equal(basic(x), basic.sn(basic.conv(x) + x))
        assert torch.equal(plain(x), plain.conv(x))
    assert isinstance(basic.sn, PLIF)
    assert (basic.sn.decay, basic.sn.gain, basic.sn.v_reset, basic.sn.comparison) == (0.5, 0.5, 0.0, "ge")


@pytest.mark.parametrize(("connect", "block"), [*((c, "sew") for c in CONNECTS), ("ADD", "basic"), ("ADD", "plain")])
def test_the_compiler_reads_the_same_spikes(connect: str, block: str) -> None:
    net = lively(EventNet(SMALL, classes=3, image_size=8, connect=connect, block=block), seed=3)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):  # tau = 2 halves the input: a bias has to pass 1 to fire alone
            nn.init.uniform_(layer.weight, 3.0, 8.0)
            nn.init.uniform_(layer.bias, -0.5, 2.5)
    source = imported(net, (2, 8, 8), steps=5, readout="mean")
    x = values(source, high=2.0).round().clip(0)
    found = check_import(source, x)
    assert found.different == 0, found.detail
    assert found.compared > 10_000
    live = [name for name, out in run_module(source, x).items() if name != "output" and out.any()]
    assert len(live) >= 7


def test_other_steps_than_in_training() -> None:
    """The readout is a mean: T of deployment is free (paper: 12 of 16 steps in training)."""
    net = lively(SevenBNet(channels=4, pools=(2,) + (1,) * 6, image_size=8, classes=3))
    x = spikes(16, 2, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x)[:12], net(x[:12]))


def test_mean_and_linear_commute() -> None:
    net = lively(EventNet(SMALL, classes=3, image_size=8))
    x = spikes(5, 2, 2, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(x).mean(0), net.out(net.conv(x).mean(0)))


@pytest.mark.parametrize("name", [name for name in RECIPES if "seven_b_net" in name])
def test_recipes_build_and_take_their_frames(name: str) -> None:
    recipe = RECIPES[name]
    model = build(recipe.kind, recipe.config)
    size = recipe.config.get("image_size", 128)
    assert model.eval()(torch.zeros(1, 1, 2, size, size)).shape[:2] == (1, 1)
    assert 0 < recipe.train_steps < recipe.steps


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": []},
        {"layers": [{"channels": 4}]},
        {"layers": [{"channels": 4, "up_kernel_size": 5}]},
        {"layers": [{"channels": 4, "up_kernel_size": 1, "stride": 2}]},
        {"layers": [{"channels": 4, "up_kernel_size": 1, "k_pool": 16}]},
        {"connect": "XOR"},
        {"block": "dense"},
    ],
)
def test_refusals(wrong: dict[str, object]) -> None:
    with pytest.raises(SnnhwError, match="the event network cannot be built") as caught:
        EventNet(**{"layers": SMALL, "image_size": 8, **wrong})  # type: ignore[arg-type]
    assert caught.value.code == "bad-network"
    with pytest.raises(SnnhwError, match="two channel counts"):
        WideSevenBNet(channels=(4,))
