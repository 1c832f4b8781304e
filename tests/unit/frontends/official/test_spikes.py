"""The loaded networks against plain loops over the files' own tensors, written from the papers' equations.

Nothing of snnhw computes the expected side: torch's convolution, BatchNorm in its textbook form, and neurons step by
step. The files' keys are read as they are in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from snnhw.frontends import load_source
from snnhw.frontends.check import check_import
from snnhw.frontends.options import SourceOptions
from snnhw.frontends.source import Source
from tests.unit.frontends.official.files import SMALL, State, event_net, imagenet_file, resnet, tdbn_resnet

T = 3


def loaded(folder: Path, content: Any, **flags: Any) -> Source:
    torch.save(content, folder / "net.pth")
    return load_source(folder / "net.pth", SourceOptions(**flags))


def doubled(state: State) -> State:
    return {key: value.double() for key, value in state.items()}


def norm(state: State, key: str, x: Tensor, factor: float = 1.0) -> Tensor:
    """``weight factor (x - mean) / sqrt(var + 1e-5) + bias`` over channels of (N, C, H, W)."""
    weight, bias, mean, var = (
        state[f"{key}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return weight * factor * (x - mean) / (var + 1e-5).sqrt() + bias


def if_neuron(steps: list[Tensor]) -> list[Tensor]:
    """v += x, spike at v >= 1, v = 0 where it spiked."""
    v, out = torch.zeros_like(steps[0]), []
    for x in steps:
        v = v + x
        s = (v >= 1.0).double()
        v = v * (1.0 - s)
        out.append(s)
    return out


def plif(steps: list[Tensor], w: Tensor) -> list[Tensor]:
    """v += sigmoid(w) (x - v), spike at v >= 1, v = 0 where it spiked."""
    v, out = torch.zeros_like(steps[0]), []
    for x in steps:
        v = v + torch.sigmoid(w) * (x - v)
        s = (v >= 1.0).double()
        v = v * (1.0 - s)
        out.append(s)
    return out


def iterative(steps: list[Tensor], vth: float, tau: float) -> list[Tensor]:
    """u = tau u (1 - o) + x, o = [u > Vth]."""
    u = o = torch.zeros_like(steps[0])
    out = []
    for x in steps:
        u = tau * u * (1.0 - o) + x
        o = (u > vth).double()
        out.append(o)
    return out


def joined(connect: str, a: Tensor, s: Tensor) -> Tensor:
    return {"ADD": a + s, "AND": a * s, "IAND": s * (1.0 - a)}[connect]


def sew_loop(state: State, images: list[Tensor], connect: str) -> tuple[list[Tensor], list[Tensor]]:
    """SEW ResNet-18 of the old layout: spikes of the first block's second neuron, and the output of every step."""

    def conv_bn(at: str, x: Tensor, stride: int, padding: int) -> Tensor:
        return norm(state, f"{at}.1", F.conv2d(x, state[f"{at}.0.weight"], stride=stride, padding=padding))

    stem = [norm(state, "bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)) for x in images]
    steps = [F.max_pool2d(s, 3, 2, 1) for s in if_neuron(stem)]
    first: list[Tensor] = []
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            a = if_neuron([conv_bn(f"{at}.conv1.module", s, stride, 1) for s in steps])
            a = if_neuron([conv_bn(f"{at}.conv2.module", s, 1, 1) for s in a])
            first = first or a
            if f"{at}.downsample.0.module.0.weight" in state:
                steps = if_neuron([conv_bn(f"{at}.downsample.0.module", s, stride, 0) for s in steps])
            steps = [joined(connect, a_t, s_t) for a_t, s_t in zip(a, steps, strict=True)]
    return first, [s.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"] for s in steps]


def spikes_of(source: Source, layer: str, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    assert source.module is not None
    source.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: found.append(out))
    with torch.no_grad():
        source.module(x)
    return found[0]


@pytest.mark.parametrize("connect", ["ADD", "AND", "IAND"])
def test_sew_resnet(connect: str, tmp_path: Path) -> None:
    state = resnet("old")
    source = loaded(tmp_path, imagenet_file(state, T=T, connect_f=connect), input_shape=(3, 32, 32))
    x = torch.randn(2, 3, 32, 32).double().expand(T, 2, 3, 32, 32)  # a direct image
    first, output = sew_loop(doubled(state), list(x), connect)
    spikes = spikes_of(source, "layer1.0.sn2", x)
    assert 0.05 < float(spikes.mean()) < 0.95  # neither silent nor always on
    assert torch.equal(spikes, torch.stack(first))
    assert source.module is not None
    assert torch.allclose(source.module(x), torch.stack(output), rtol=0, atol=1e-9)
    assert check_import(source, x.transpose(0, 1).numpy()).different == 0


def test_sew_is_not_spiking_resnet(tmp_path: Path) -> None:
    """The same numbers through the other shortcut give another output: the discriminator matters."""
    state, other = resnet("new", "sew"), resnet("new", "spiking")
    x = torch.randn(1, 3, 32, 32).double().expand(T, 1, 3, 32, 32)
    sew = loaded(tmp_path, imagenet_file(state, T=T), input_shape=(3, 32, 32))
    spiking = loaded(tmp_path, imagenet_file(other, T=T), input_shape=(3, 32, 32))
    assert torch.equal(state["layer2.0.downsample.0.0.weight"], other["layer2.0.downsample.0.weight"])
    assert not torch.allclose(sew.module(x), spiking.module(x))  # type: ignore[misc]


@pytest.mark.parametrize("connect", ["ADD", "IAND"])
@pytest.mark.parametrize("old", [True, False])
def test_event_net(connect: str, old: bool, tmp_path: Path) -> None:
    state = event_net(SMALL, 10, 16, old=old)
    source = loaded(tmp_path, {"net": state}, steps=T, connect=connect, input_shape=(2, 8, 8))
    x = torch.randint(0, 6, (T, 2, 2, 8, 8)).double()  # event counts
    weights, middle = doubled(state), ".module" if old else ""

    def layer(at: str, steps: list[Tensor]) -> list[Tensor]:
        inner = f"{at}.0{middle}"
        currents = [norm(weights, f"{inner}.1", F.conv2d(s, weights[f"{inner}.0.weight"], padding=1)) for s in steps]
        return plif(currents, weights[f"{at}.1.w"])

    steps = layer("conv.0", list(x))
    for block in (1, 3):
        a = layer(f"conv.{block}.conv.1", layer(f"conv.{block}.conv.0", steps))
        steps = [F.max_pool2d(joined(connect, a_t, s_t), 2) for a_t, s_t in zip(a, steps, strict=True)]
    assert 0.05 < float(torch.stack(steps).mean()) < 1.95
    expected = torch.stack([s.flatten(1) @ weights["out.weight"].T + weights["out.bias"] for s in steps])
    assert torch.allclose(source.module(x), expected, rtol=0, atol=1e-9)  # type: ignore[misc]


@pytest.mark.parametrize("dialect", ["forward", "init"])
@pytest.mark.parametrize("alpha", [None, 0.5])
def test_tdbn_resnet(dialect: str, alpha: float | None, tmp_path: Path) -> None:
    """'forward' multiplies alpha Vth in at every pass; in 'init' the weights have it already."""
    vth, tau, state = 0.4, 0.25, tdbn_resnet()
    if dialect == "init":
        state = {k: v * vth if ("bn" in k and k.endswith("weight")) else v for k, v in state.items()}
    flags = {} if alpha is None or dialect == "init" else {"alpha": alpha}
    branch = 2**-0.5 if alpha is None else alpha
    shape = {"input_shape": (3, 8, 8)}
    source = loaded(tmp_path, state, steps=T, threshold=vth, tdbn_dialect=dialect, **flags, **shape)
    x = torch.randn(2, 3, 8, 8).double().expand(T, 2, 3, 8, 8)
    weights = doubled(state)
    serial, parallel = (vth, branch * vth) if dialect == "forward" else (1.0, 1.0)

    def layer(conv: str, bn: str, steps: list[Tensor], factor: float, stride: int = 1) -> list[Tensor]:
        kernel = weights[f"{conv}.weight"]
        padding = kernel.shape[2] // 2
        return [norm(weights, bn, F.conv2d(s, kernel, stride=stride, padding=padding), factor) for s in steps]

    stem = iterative(layer("conv1", "bn1", list(x), serial), vth, tau)
    steps = stem
    for stage, stride in ((1, 1), (2, 2)):
        at = f"layer{stage}.0"
        a = iterative(layer(f"{at}.conv1", f"{at}.bn1", steps, serial, stride), vth, tau)
        a = layer(f"{at}.conv2", f"{at}.bn2", a, parallel)
        down = layer(f"{at}.downsample.layer", f"{at}.downsample.bn", steps, parallel, stride)
        steps = iterative([a_t + s_t for a_t, s_t in zip(a, down, strict=True)], vth, tau)
    steps = [s.mean((2, 3)) for s in steps]
    for name in ("fc1", "fc2"):
        currents = [s @ weights[f"{name}.weight"].T + weights[f"{name}.bias"] for s in steps]
        steps = iterative(currents, vth, tau)
    spikes = spikes_of(source, "stem_lif", x)
    assert 0.05 < float(spikes.mean()) < 0.95
    assert torch.equal(spikes, torch.stack(stem))
    assert torch.equal(source.module(x), torch.stack(steps))  # type: ignore[misc]


def test_the_wrong_dialect_is_another_network(tmp_path: Path) -> None:
    flags = {"steps": T, "threshold": 0.4, "input_shape": (3, 8, 8)}
    x = torch.randn(2, 3, 8, 8).double().expand(T, 2, 3, 8, 8)
    one, other = (loaded(tmp_path, tdbn_resnet(), tdbn_dialect=d, **flags) for d in ("forward", "init"))
    assert not torch.equal(spikes_of(one, "stem_lif", x), spikes_of(other, "stem_lif", x))
