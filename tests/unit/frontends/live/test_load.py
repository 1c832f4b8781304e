"""Modules of a stand-in framework, in all the ways that forward can be written, give the spikes of their graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends.check import check_import, run_graph
from snnhw.frontends.convert import conv1d
from snnhw.frontends.live_module import load_module
from snnhw.frontends.source import Source
from snnhw.semantics import Deployment
from tests.unit.frontends.live.stand_in import Cellule, only_stand_in

T, N = 7, 3


@pytest.fixture(autouse=True)
def _framework() -> Iterator[None]:
    torch.manual_seed(0)
    with only_stand_in():
        yield


class Net(nn.Module):
    """Layers by name, and a function as forward."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.normal_(layer.weight, 0.2, 0.5)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def same(net: nn.Module, example: Tensor, **options: Any) -> Source:
    """The source, after its spikes on random input were compared; no layer is silent."""
    source = load_module(net, example, **options)
    shape = (5, source.deployment.steps, *source.deployment.input_shape)
    assert source.replay is not None
    x = source.replay.like(np.random.default_rng(0).random(shape) * 2)
    found = check_import(source, x)
    assert found.samples == 5
    assert found.different == 0, found
    assert "silent" not in found.detail
    return source


def edges(source: Source) -> set[tuple[str, str]]:
    return set(source.graph.edges)


def chain(mode: str = "m") -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 6), Cellule(mode), nn.Linear(6, 3), Cellule(mode))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.2, 0.5)
    return net


def test_all_steps_at_once() -> None:
    source = same(chain(), torch.rand(T, N, 4))
    assert source.deployment == Deployment(T, "direct", (4,), "rate")
    assert edges(source) == {("input", "0"), ("0", "1"), ("1", "2"), ("2", "3"), ("3", "output")}
    assert source.origin == {"module": "Sequential", "framework": "StandIn"}


@pytest.mark.parametrize(
    ("example", "options"),
    [
        (torch.ones(T, N, 4), {}),
        (torch.ones(N, 4), {"steps": T}),
        (torch.ones(N, 4), {"deployment": Deployment(T, "spikes", (4,), "rate")}),
        (torch.ones(1, N, 4), {"steps": T}),
    ],
)
def test_one_step_a_call(example: Tensor, options: dict[str, Any]) -> None:
    source = same(chain("s"), example, **options)
    assert source.deployment.steps == T
    assert source.deployment.input_shape == (4,)


def test_an_image_for_a_convolution_is_one_step() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), Cellule("s"))
    nn.init.normal_(net[0].weight, 0.2, 0.5)
    assert same(net, torch.rand(N, 1, 5, 5), steps=4).deployment.input_shape == (1, 5, 5)
    assert same(net, torch.rand(4, N, 1, 5, 5)).deployment.steps == 4


def loop(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    v1 = v2 = None
    spikes, membranes = [], []
    for t in range(len(x)):
        z, v1 = m.n1(m.a(x[t]), v1)
        z, v2 = m.n2(m.b(z), v2)
        spikes.append(z)
        membranes.append(v2)
    return torch.stack(spikes), torch.stack(membranes)


def looped(forward: Callable[[Any, Tensor], Any], **more: nn.Module) -> Net:
    return Net(forward, a=nn.Linear(4, 6), n1=Cellule("h"), b=nn.Linear(6, 3), n2=Cellule("h"), **more)


def test_a_loop_with_states_handed_over() -> None:
    assert edges(same(looped(loop), torch.rand(T, N, 4))) >= {("a", "n1"), ("n1", "b"), ("n2", "output")}


def by_batch(m: Any, x: Tensor) -> Tensor:
    v1, out = torch.zeros(x.shape[0], 6), torch.zeros(x.shape[0], x.shape[1], 6)
    for t in range(x.shape[1]):
        z, v1 = m.n1(m.a(x[:, t]), v1)
        out[:, t] = z
    return out


def summed(m: Any, x: Tensor) -> Any:
    v1, total = None, 0.0
    for now in x:
        z, v1 = m.n1(m.a(now), v1)
        total = total + z
    return total / len(x)


def listed(m: Any, x: Tensor) -> list[Tensor]:
    v1, out = None, []
    for now in x.unbind(0):
        z, v1 = m.n1(m.a(now), v1)
        out.append(z)
    return out


def shown(m: Any, x: Tensor) -> Tensor:
    v1, out = None, []
    for _ in range(T):
        z, v1 = m.n1(m.a(x), v1)
        out.append(z)
    return torch.stack(out, 1)


def mixed(m: Any, x: Tensor) -> Tensor:
    current = m.a(x.flatten(0, 1)).view(x.shape[0], x.shape[1], 6).transpose(0, 1).permute(1, 0, 2)
    v1, out = None, []
    for t in range(len(x)):
        z, v1 = m.n1(current.select(0, t), v1)
        out.append(z)
    return torch.stack(out)


@pytest.mark.parametrize(
    ("forward", "shape", "encoding"),
    [
        (by_batch, (N, T, 4), "direct"),
        (summed, (T, N, 4), "direct"),
        (listed, (T, N, 4), "direct"),
        (shown, (N, 4), "direct"),
        (mixed, (T, N, 4), "direct"),
    ],
)
def test_loops(forward: Callable[[Any, Tensor], Any], shape: tuple[int, ...], encoding: str) -> None:
    source = same(Net(forward, a=nn.Linear(4, 6), n1=Cellule("h")), torch.rand(shape))
    assert (source.deployment.steps, source.deployment.encoding) == (T, encoding)
    assert edges(source) == {("input", "a"), ("a", "n1"), ("n1", "output")}


def test_spikes_are_told_from_currents_by_the_example() -> None:
    assert load_module(chain(), torch.ones(T, N, 4)).deployment.encoding == "spikes"


def fed_back(m: Any, x: Tensor) -> Tensor:
    z1, z2, v1, v2, out = torch.zeros(x.shape[1], 6), torch.zeros(x.shape[1], 3), None, None, []
    for now in x:
        z1, v1 = m.n1(m.a(now) + m.back(z1) + m.far(z2), v1)
        z2, v2 = m.n2(m.b(z1), v2)
        out.append(z2)
    return torch.stack(out)


def test_feedback_is_a_cycle_whose_bias_acts_from_the_start() -> None:
    source = same(looped(fed_back, back=nn.Linear(6, 6), far=nn.Linear(3, 6)), torch.rand(T, N, 4))
    assert edges(source) >= {("n1", "back"), ("back", "n1"), ("n2", "far"), ("far", "n1")}
    assert not any(isinstance(node, nir.Delay) for node in source.graph.nodes.values())


def fed_back_late(m: Any, x: Tensor) -> Tensor:
    back, v1, out = torch.zeros(x.shape[1], 6), None, []
    for now in x:
        z, v1 = m.n1(m.a(now) + back, v1)
        back = m.back(z)
        out.append(z)
    return torch.stack(out)


def test_a_bias_that_is_missing_at_the_start_needs_a_delay() -> None:
    net = Net(fed_back_late, a=nn.Linear(4, 6), n1=Cellule("h"), back=nn.Linear(6, 6))
    with torch.no_grad():
        net.back.bias.fill_(0.4)  # type: ignore[operator, union-attr]
    source = same(net, torch.rand(T, N, 4))
    assert [name for name, node in source.graph.nodes.items() if isinstance(node, nir.Delay)] == ["n1.after.back"]


def skipping(m: Any, x: Tensor) -> Tensor:
    before, v1, v2, out = torch.zeros(x.shape[1], 6), None, None, []
    for now in x:
        z1, v1 = m.n1(m.a(now), v1)
        z2, v2 = m.n2(m.b(z1 + before), v2)
        before = z1
        out.append(z2)
    return torch.stack(out)


def test_a_value_of_the_step_before_that_is_no_feedback_is_a_delay() -> None:
    source = same(looped(skipping), torch.rand(T, N, 4))
    assert any(isinstance(node, nir.Delay) for node in source.graph.nodes.values())


def membrane_out(m: Any, x: Tensor) -> Tensor:
    v1 = v2 = None
    out = []
    for now in x:
        z, v1 = m.n1(m.a(now), v1)
        _, v2 = m.n2(m.b(z), v2)
        out.append(v2)
    return torch.stack(out)


def test_a_membrane_that_never_resets_is_an_output() -> None:
    net = looped(membrane_out)
    net.n2.fires = False  # type: ignore[assignment, union-attr]
    source = same(net, torch.rand(T, N, 4))
    assert isinstance(source.graph.nodes["n2"], nir.LI)
    assert source.deployment.readout == "membrane"


def conv_net(forward: Callable[[Any, Tensor], Any]) -> Net:
    net = Net(
        forward,
        c=nn.Conv2d(2, 4, 3, padding=1, bias=False),
        bn=nn.BatchNorm2d(4),
        n1=Cellule(),
        d=nn.Conv2d(4, 4, 3, padding=1),
        n2=Cellule(),
        mp=nn.MaxPool2d(2),
        ap=nn.AvgPool2d(2),
        fc=nn.Linear(4, 3),
        drop=nn.Dropout(0.5),
        same=nn.Identity(),
    )
    net.bn.running_mean.uniform_(-0.3, 0.3)  # type: ignore[operator, union-attr]
    net.bn.running_var.uniform_(0.5, 2.0)  # type: ignore[operator, union-attr]
    return net


def residual(m: Any, x: Tensor) -> Tensor:
    y = m.n1(m.bn(m.c(x)))
    z = m.n2(m.d(y))
    z += m.same(y)
    z = m.ap(m.mp(m.drop(z)))
    return m.fc(z.mean((2, 3)))  # type: ignore[no-any-return]


def functions(m: Any, x: Tensor) -> Tensor:
    y = m.n1(functional.batch_norm(functional.conv2d(x, m.c.weight, padding=1), m.bn.running_mean, m.bn.running_var))
    y = functional.dropout(y, 0.5, training=m.training)
    y = functional.avg_pool2d(y, 2) - 0.5 * functional.adaptive_avg_pool2d(y, 4)
    return (torch.flatten(y, 1) @ torch.ones(64, 3)) / 4 + torch.tensor([0.5, 0.25, 0.0])


def gates(m: Any, x: Tensor) -> Tensor:
    y = m.n1(m.bn(m.c(x)))
    z = m.n2(m.d(y))
    return torch.cat([y * z, z * (1 - y), torch.add(y, z)], 1).sum((2, 3), keepdim=True).squeeze(-1).squeeze(-1)


@pytest.mark.parametrize("forward", [residual, functions, gates])
def test_layers_and_functions(forward: Callable[[Any, Tensor], Any]) -> None:
    net = conv_net(forward)
    source = same(net, torch.rand(4, N, 2, 8, 8))
    assert source.replay is not None
    x = np.random.default_rng(1).random((3, 4, 2, 8, 8))
    want, have = source.replay(x)["output"], run_graph(source, x)["output"]
    assert np.allclose(want, have, atol=1e-4)
    assert np.abs(want).max() > 0


def test_batchnorm_is_folded_and_one_alone_is_a_convolution_of_one_pixel() -> None:
    assert "bn" not in same(conv_net(residual), torch.rand(4, N, 2, 8, 8)).graph.nodes
    net = conv_net(lambda m, x: m.n2(m.d(m.bn(m.n1(m.c(x))))))
    assert isinstance(same(net, torch.rand(4, N, 2, 8, 8)).graph.nodes["bn"], nir.Conv2d)


def test_weights_that_forward_computes_and_layers_used_twice() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        weight = m.a.weight - m.a.weight.mean() + 0.2
        y = m.n1(functional.linear(functional.linear(x, weight), weight))
        return m.n2(m.a(y))  # type: ignore[no-any-return]

    source = same(Net(forward, a=nn.Linear(4, 4), n1=Cellule(), n2=Cellule()), torch.rand(T, N, 4))
    assert edges(source) >= {("input", "linear"), ("linear", "linear.2"), ("linear.2", "n1"), ("n1", "a")}


def test_x_plus_x_is_a_factor() -> None:
    source = same(Net(lambda m, x: m.n1(m.a(x) + m.a(x)), a=nn.Linear(4, 4), n1=Cellule()), torch.rand(T, N, 4))
    assert np.asarray(source.graph.nodes["n1.times2.a"].scale).tolist() == [2.0] * 4


def test_a_module_that_takes_its_state() -> None:
    class Threaded(Net):
        threaded = True

        def forward(self, x: Tensor, state: Any = None) -> Any:  # type: ignore[override]
            z, state = self.n1(self.a(x), state)  # type: ignore[operator]
            return z, state

    same(Threaded(loop, a=nn.Linear(4, 6), n1=Cellule("h")), torch.rand(T, N, 4))


def test_a_leaf_alone_is_named_after_its_class() -> None:
    assert "cellule" in same(Cellule("m"), torch.rand(T, N, 4)).graph.nodes


def test_compile_and_run_take_modules() -> None:
    net, x = chain(), (np.random.default_rng(0).random((20, T, 4)) < 0.5).astype(np.float32)
    example = torch.from_numpy(x[:N]).transpose(0, 1)
    artifact = snnhw.compile(net, example, target="loihi2", calibrate=x)
    status = {check["stage"]: check["status"] for check in artifact.checks}
    assert status["source = NIR"] == "equal"
    floats = snnhw.run_float(net, x, example, record=True)
    with torch.no_grad():
        net[1].v = net[3].v = 0.0  # type: ignore[index]
        want = net(torch.from_numpy(x).transpose(0, 1)).transpose(0, 1).numpy()
    assert np.array_equal(floats["output"], want)
    assert (snnhw.run(artifact, x)["predictions"] == floats["predictions"]).mean() > 0.8


def test_a_forward_that_counts_on_its_batch() -> None:
    net = Net(lambda m, x: m.n1(m.a(x.view(T, N, 4))), a=nn.Linear(4, 6), n1=Cellule("m"))
    same(net, torch.rand(T, N, 4))


@pytest.mark.parametrize("options", [{"padding": 1, "stride": 2}, {"padding": "valid"}, {"dilation": 2, "groups": 2}])
def test_convolutions_of_one_axis(options: dict[str, Any]) -> None:
    conv = nn.Conv1d(2, 4, 3, **options)
    nn.init.normal_(conv.weight, 0.2, 0.5)
    source = same(nn.Sequential(conv, Cellule("s")), torch.rand(4, N, 2, 9))
    assert isinstance(source.graph.nodes["0"], nir.Conv1d)


def test_padding_of_conv1d_that_nir_has_not() -> None:
    for options in ({"padding": "same"}, {"padding_mode": "circular", "padding": 1}):
        with pytest.raises(SourceError, match=r"padding mode '\w+', padding .* of Conv1d is not supported") as caught:
            conv1d(nn.Conv1d(2, 4, 3, **options), (2, 9), "c")  # type: ignore[arg-type]
        assert caught.value.code == "unsupported-option"
        assert caught.value.where == "c"


def test_the_example_is_calibration_data_unless_it_is_all_zeros() -> None:
    """`snnhw.compile(module, example)` knows the range of analog input from it."""
    net = Net(lambda m, x: m.n(m.fc(x)), fc=nn.Linear(4, 3), n=Cellule())
    example = torch.rand(8, 4) * 3
    artifact = snnhw.compile(net, example, target="loihi2", steps=T)
    (spec,) = artifact.inputs
    assert spec.scale * 255 == pytest.approx(float(example.max()), rel=1e-6)
    assert artifact.calibration is not None
    with pytest.raises(snnhw.SnnhwError, match="the range of the analog input is not known") as caught:
        snnhw.compile(net, torch.zeros(8, 4), target="loihi2", steps=T)
    assert caught.value.code == "needs-calibration"


def times(by: float) -> Callable[[Any, Tensor], Any]:
    return lambda m, x: by * summed(m, x)


def some(m: Any, x: Tensor) -> Tensor:
    return summed(m, x) * torch.tensor([0.0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("forward", "later", "equal"),
    [
        (summed, times(3.0), True),
        (summed, times(-1.0), False),
        (summed, some, False),
        (by_batch, by_batch, True),
        (by_batch, lambda m, x: by_batch(m, x).flip(1), False),
    ],
)
def test_what_forward_returns_is_compared(
    forward: Callable[[Any, Tensor], Any], later: Callable[[Any, Tensor], Any], equal: bool
) -> None:
    """Also where it is a leaf's spikes, and where it is their sum over time, up to a positive factor."""
    net = Net(forward, a=nn.Linear(4, 6), n1=Cellule("h"))
    example = torch.rand(N, T, 4) * 3
    source = load_module(net, example if forward is by_batch else example.transpose(0, 1))
    net.run = later
    found = check_import(source, example.double().numpy())
    assert (found.samples, found.different == 0) == (N, equal), found
    assert equal or found.detail.startswith("output")
