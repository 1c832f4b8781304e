"""The two networks, PerStep, and what the compiler relies on: fx tracing and named layers."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx, nn

from snnhw.errors import SnnhwError
from snnhw.zoo.containers import PerStep
from snnhw.zoo.registry import build
from snnhw.zoo.sew import SewResNet
from snnhw.zoo.stbp import StbpScnn
from tests.unit.zoo.nets import LeafTracer, neurons


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
        (
            "stbp_scnn",
            {"channels": [2, 0]},
            "bad-network: the network does not take this configuration\n  where: stbp_scnn config\n  needed: channels\n"
            "  limit: one neuron or more in each layer",
        ),
        ("stbp_scnn", {"channels": [8]}, "bad-network: the STBP network cannot be built\n  where: StbpScnn"),
        ("sew_resnet", {"blocks": [1]}, "bad-network: the residual network cannot be built\n  where: SewResNet"),
    ],
)
def test_wrong_networks_are_refused(kind: str, config: dict[str, object], text: str) -> None:
    with pytest.raises(SnnhwError) as caught:
        build(kind, config)
    assert str(caught.value).startswith(text)
