"""The two networks, PerStep, and what the compiler relies on: fx tracing and named layers."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.neurons import Neuron
from snnhw.zoo.registry import build
from snnhw.zoo.sew import SewResNet
from snnhw.zoo.stbp import StbpScnn


class LeafTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, PerStep | Neuron) or super().is_leaf_module(m, module_qualified_name)


def test_per_step_applies_its_layers_to_each_step() -> None:
    layer = PerStep(nn.Conv2d(2, 3, 3), nn.ReLU())
    x = torch.randn(4, 2, 2, 5, 5)
    wanted = torch.stack([layer[1](layer[0](x_t)) for x_t in x])
    torch.testing.assert_close(layer(x), wanted)


def test_a_static_input_is_computed_once_and_gives_the_same() -> None:
    calls: list[int] = []
    layer = PerStep(nn.Conv2d(1, 3, 3), nn.Flatten())
    layer[0].register_forward_hook(lambda _m, args, _out: calls.append(len(args[0])))
    image = torch.rand(2, 1, 5, 5)
    static, full = layer(image.expand(4, *image.shape)), layer(image.repeat(4, 1, 1, 1, 1))
    assert calls == [2, 8]
    assert static.stride(0) == 0
    torch.testing.assert_close(static, full)


@pytest.mark.parametrize(("size", "side"), [(28, 7), (12, 3), (15, 3)])
def test_stbp_shapes_for_other_sizes(size: int, side: int) -> None:
    model = StbpScnn(in_channels=2, image_size=size, channels=(3, 5), hidden=7, classes=4)
    assert model.state_dict()["fc1.0.weight"].shape == (7, 5 * side * side)
    out = model(torch.rand(3, 2, 2, size, size))
    assert out.shape == (3, 2, 4)
    assert set(out.unique().tolist()) <= {0.0, 1.0}


def test_stbp_has_the_size_of_the_paper() -> None:
    model = StbpScnn()
    assert sum(p.numel() for p in model.parameters()) == 211_690
    assert neurons(model, torch.rand(1, 1, 1, 28, 28)) == 31_498


def test_sew_shapes_and_size() -> None:
    small = SewResNet(in_channels=3, image_size=10, channels=(4, 6), blocks=(1, 2), classes=5)
    assert small(torch.rand(2, 3, 3, 10, 10)).shape == (2, 3, 5)
    assert neurons(SewResNet().eval(), torch.rand(1, 1, 1, 28, 28)) == 109_760


def neurons(model: nn.Module, x: torch.Tensor) -> int:
    """Outputs of all neuron layers for one sample."""
    count: list[int] = []
    for module in model.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _m, _args, out: count.append(out[0, 0].numel()))
    model(x)
    return sum(count)


def test_sew_blocks_add_so_values_pass_one() -> None:
    torch.manual_seed(0)
    model = SewResNet(channels=(4,), blocks=(3,), image_size=8)
    seen: list[float] = []
    model.stages.register_forward_hook(lambda _m, _args, out: seen.append(float(out.detach().max())))
    model(torch.rand(4, 5, 1, 8, 8) * 4)
    assert 1.0 < seen[0] <= 4.0
    assert seen[0] == int(seen[0])


@pytest.mark.parametrize("connect", ["AND", "IAND", "add"])
def test_other_connects_are_refused(connect: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        SewResNet(connect=connect)
    assert str(caught.value) == (
        "unsupported-connect: this SEW connect function is not there yet\n"
        f"  where: SewResNet(connect=)\n  needed: '{connect}'\n  limit: 'ADD'\n  hint: use connect='ADD'"
    )


@pytest.mark.parametrize("model", [StbpScnn(), SewResNet()], ids=["stbp", "sew"])
def test_networks_trace_with_these_leaves(model: nn.Module) -> None:
    graph = LeafTracer().trace(model)
    kinds = {node.op for node in graph.nodes} - {"placeholder", "output"}
    functions = {node.target for node in graph.nodes if node.op == "call_function"}
    if isinstance(model, StbpScnn):
        assert kinds == {"call_module"}
    else:
        assert kinds == {"call_module", "call_function"}
        assert functions == {operator.add}
    x = torch.rand(2, 1, 1, 28, 28)
    model.eval()
    with torch.no_grad():
        assert torch.equal(fx.GraphModule(model, graph)(x), model(x))


def test_state_dict_keys_are_readable() -> None:
    assert list(StbpScnn().state_dict())[:2] == ["conv1.0.weight", "conv1.0.bias"]
    keys = SewResNet().state_dict()
    assert {"stem.conv.weight", "stages.1.0.shortcut.down.bn.running_var", "fc.0.bias"} <= set(keys)


def test_networks_run_in_float64() -> None:
    for model in (StbpScnn().double().eval(), SewResNet().double().eval()):
        assert model(torch.rand(2, 1, 1, 28, 28, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("kind", "config", "text"),
    [
        ("resnet", {}, "unknown-network: no network of that name\n  where: network\n  needed: 'resnet'"),
        (
            "stbp_scnn",
            {"width": 3},
            "bad-network: the network does not take this configuration\n  where: stbp_scnn",
        ),
        ("stbp_scnn", {"channels": [8]}, "bad-network: the STBP network cannot be built\n  where: StbpScnn"),
        ("sew_resnet", {"blocks": [1]}, "bad-network: the SEW ResNet cannot be built\n  where: SewResNet"),
    ],
)
def test_wrong_networks_are_refused(kind: str, config: dict[str, object], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        build(kind, config)
    assert str(caught.value).startswith(text)
