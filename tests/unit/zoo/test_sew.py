"""SEW blocks: what g does, how far values grow, how they start, and how gradients pass them (W1-W5, W7-W12)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.neurons import IF, LIF, PLIF, Neuron
from snnhw.zoo.registry import RECIPES
from snnhw.zoo.residual import CONNECTS, conv_bn, joined
from snnhw.zoo.sew import SewBlock, SewResNet
from snnhw.zoo.train import train
from tests.unit.zoo.nets import LeafTracer, functions, lively, neurons, spikes

SMOKE = ("sew_resnet_smoke", "sew_and_smoke", "sew_iand_smoke")


def chain(blocks: int, connect: str, neuron: Callable[[], Neuron] = IF, zero_init: bool = False) -> nn.Sequential:
    """Blocks of three channels with identity shortcuts."""
    return nn.Sequential(*[SewBlock(3, 3, 1, neuron, connect, zero_init) for _ in range(blocks)])


def test_sew_shapes_and_size() -> None:
    small = SewResNet(in_channels=3, image_size=10, channels=(4, 6), blocks=(1, 2), classes=5)
    assert small(torch.rand(2, 3, 3, 10, 10)).shape == (2, 3, 5)
    assert neurons(SewResNet().eval(), torch.rand(1, 1, 1, 28, 28)) == 109_760


def test_keys_of_the_small_network() -> None:
    keys = set(SewResNet(channels=(2, 4), blocks=(1, 1)).state_dict())
    norm = [f"bn.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    wanted = {"fc.0.weight", "fc.0.bias"}
    for place in ("stem", *[f"stages.{i}.0.conv{j}" for i in (0, 1) for j in (1, 2)], "stages.1.0.shortcut.down"):
        wanted |= {f"{place}.{name}" for name in ("conv.weight", *norm)}
    assert keys == wanted


@pytest.mark.parametrize(("connect", "table"), [("ADD", [0, 1, 1, 2]), ("AND", [0, 0, 0, 1]), ("IAND", [0, 1, 0, 0])])
def test_connects_on_all_pairs_of_spikes(connect: str, table: list[int]) -> None:
    a, s = (torch.tensor(column, dtype=torch.float32) for column in zip(*product((0, 1), (0, 1)), strict=True))
    assert joined(connect, a, s).tolist() == table


@pytest.mark.parametrize("connect", CONNECTS)
def test_blocks_trace_to_the_operations_the_front_end_reads(connect: str) -> None:
    calls = functions(SewBlock(2, 4, 2, IF, connect))
    args = [tuple(str(arg) for arg in args) for _, args in calls]
    if connect == "IAND":
        assert [target for target, _ in calls] == [operator.sub, operator.mul]
        assert args == [("1", "if2"), ("shortcut_neuron", "sub")]
    else:
        assert [target for target, _ in calls] == [operator.add if connect == "ADD" else operator.mul]
        assert args == [("if2", "shortcut_neuron")]


@pytest.mark.parametrize("neuron", ["if", "lif", "plif"])
@pytest.mark.parametrize("connect", CONNECTS)
def test_traced_networks_compute_the_same(connect: str, neuron: str) -> None:
    model = SewResNet(channels=(3, 4), blocks=(1, 2), image_size=8, connect=connect, neuron=neuron).eval()
    kinds = {"if": IF, "lif": LIF, "plif": PLIF}
    assert {type(m) for m in model.modules() if isinstance(m, Neuron)} == {kinds[neuron]}
    x = torch.rand(3, 2, 1, 8, 8) * 3
    with torch.no_grad():
        assert torch.equal(fx.GraphModule(model, LeafTracer().trace(model))(x), model(x))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("connect", CONNECTS)
def test_values_are_bounded(connect: str, seed: int) -> None:
    torch.manual_seed(seed)
    blocks = lively(chain(6, connect), seed)
    s = spikes(4, 3, 3, 6, 6, rate=0.7, seed=seed)
    most = []
    with torch.no_grad():
        for k, block in enumerate(blocks, 1):
            before, s = s, block(s)
            assert set(s.unique().tolist()) <= set(range(k + 2 if connect == "ADD" else 2))
            assert connect == "ADD" or bool((s <= before).all()), "AND and IAND only take spikes away"
            most.append(float(s.max()))
    if connect == "ADD":
        assert most[-1] > 2, "sums pass one, or the bound k+1 says nothing"


def test_a_downsampling_block_resets_the_bound_and_relu_before_addition_has_none() -> None:
    torch.manual_seed(0)
    first, down = lively(chain(4, "ADD")), lively(SewBlock(3, 5, 2, IF))
    with torch.no_grad():
        s = first(spikes(4, 3, 3, 6, 6))
        assert float(s.max()) > 2.0
        assert float(down(s).max()) == 2.0
        x = spikes(1, 3, 3, 6, 6)
        for block in first:  # the same weights with ReLU for the neurons
            assert isinstance(block, SewBlock)
            x = x + block.conv2(block.conv1(x).relu()).relu()
        assert float(x.max()) > 5.0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("neuron", [IF, LIF, PLIF])
def test_identity_initialisation_passes_the_input_on(
    neuron: Callable[[], Neuron], connect: str, training: bool
) -> None:
    torch.manual_seed(1)
    blocks = chain(4, connect, neuron, zero_init=True).train(training)
    s = spikes(5, 2, 3, 5, 5)
    assert torch.equal(blocks(s), s)
    assert not torch.equal(lively(chain(4, connect, neuron))(s), s)


def test_identity_initialisation_of_and_rests_on_greater_or_equal() -> None:
    s = torch.ones(4, 1, 3, 2, 2)
    strict = SewBlock(3, 3, 1, lambda: IF(comparison="gt"), "AND", zero_init=True)
    assert strict(s)[:, 0, 0, 0, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    official = SewBlock(3, 3, 1, PLIF, "AND", zero_init=True)
    beta = official.conv2.bn.bias
    assert isinstance(beta, Tensor)
    assert beta.tolist() == [2.0] * 3
    nn.init.ones_(beta)
    assert float(official(s).detach().sum()) == 0.0, "the authors' beta of 1 never fires a PLIF of tau 2"


def test_downsampling_blocks_start_as_their_shortcut() -> None:
    torch.manual_seed(0)
    s = spikes(3, 2, 3, 6, 6)
    for connect in CONNECTS:
        block = SewBlock(3, 4, 2, IF, connect, zero_init=True)
        assert torch.equal(block(s), block.shortcut(s))


@pytest.mark.parametrize("connect", CONNECTS)
def test_gradients_pass_a_chain_at_identity_unchanged(connect: str) -> None:
    """The product of dg/dS over 12 blocks is 1 exactly, wherever there are spikes or none."""
    torch.manual_seed(2)
    s = spikes(1, 2, 3, 5, 5).requires_grad_()
    towards = torch.randn(1, 2, 3, 5, 5)
    chain(12, connect, zero_init=True)(s).backward(towards)
    assert s.grad is not None
    torch.testing.assert_close(s.grad, towards, rtol=0, atol=0)


def test_and_falls_silent_with_depth() -> None:
    """A S <= S: without the identity start, every random block takes spikes away and adds none."""
    torch.manual_seed(0)
    s = spikes(4, 8, 3, 8, 8)
    rates = [float(s.mean())]
    with torch.no_grad():
        for block in chain(6, "AND").train():
            s = block(s)
            rates.append(float(s.mean()))
    assert all(after < before for before, after in pairwise(rates) if before > 0)
    assert rates[-1] < 0.01 < rates[0]


@pytest.mark.parametrize("name", SMOKE)
def test_smoke_recipes_learn(name: str, tmp_path: Path) -> None:
    history = train(name, tmp_path / "m.pt", log=lambda _: None)["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_recipes_say_their_connect() -> None:
    assert RECIPES["sew_and"].config["connect"] == "AND"
    assert RECIPES["sew_iand"].config["connect"] == "IAND"


@pytest.mark.parametrize("connect", ["add", "OR"])
def test_other_connects_are_refused(connect: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        SewResNet(connect=connect)
    assert str(caught.value) == (
        "unknown-connect: no SEW connect function of that name\n"
        f"  where: connect=\n  needed: '{connect}'\n  limit: ADD, AND, IAND\n"
        "  hint: pick one of these (capital letters)"
    )


def test_other_neurons_are_refused() -> None:
    with pytest.raises(SnnhwError) as caught:
        SewResNet(neuron="alif")
    assert str(caught.value).startswith(
        "unknown-neuron: no neuron of that name for residual networks\n  where: neuron="
    )


def test_a_convolution_is_followed_by_its_batchnorm() -> None:
    layer = conv_bn(2, 3, 3, 2)
    assert [type(part) for part in layer] == [nn.Conv2d, nn.BatchNorm2d]
    assert layer(torch.rand(2, 1, 2, 7, 7)).shape == (2, 1, 3, 4, 4)
