"""SpikingJelly 2.0.0 and 0.0.0.0.14: networks of the matrix, and what its layers can be told."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

import snnhw
from snnhw.errors import SourceError
from snnhw.frontends.check import check_import, run_graph
from snnhw.frontends.live.adapter import MEMBRANE, OUT
from snnhw.frontends.live.spikingjelly import ADAPTER
from snnhw.network import Comparison
from tests.frontends.harness import CLASSES, TN, Subject, absent, check, check_left_alone, keep, randomise
from tests.frontends.leaves import DT, node_names

STEPS = 20
CUBA = hasattr(neuron, "CUBALIFNode")


def subject(
    module: nn.Module,
    shape: tuple[int, ...],
    readout: nn.Module,
    gain: float,
    call: Callable[[Tensor], Tensor] | None = None,
) -> Subject:
    """A network with seeded weights whose states are zero before each run."""
    randomise(module, gain)
    module.eval()
    nodes = {name: part for name, part in module.named_modules() if ADAPTER.claims(part)}
    neurons = {name: TN if part.step_mode == "m" else "step" for name, part in nodes.items()}
    return Subject(
        module, shape, TN, neurons, readout, steps=STEPS, reset=lambda: functional.reset_net(module), call=call
    )


def stepped(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A module in single-step mode over (T, N, ...)."""
    return lambda x: torch.stack([module(step) for step in x])


def mlp() -> Subject:
    """Multi-step; hard reset, soft reset and another reset potential; input that decays with the membrane or not."""
    net = nn.Sequential(
        layer.Linear(24, 32),
        neuron.LIFNode(tau=3.0, decay_input=False),
        layer.Linear(32, 24),
        neuron.LIFNode(tau=2.5, v_reset=None, v_threshold=0.8),
        layer.Linear(24, 24),
        neuron.ParametricLIFNode(init_tau=4.0, decay_input=True, v_reset=-0.2, v_threshold=0.2),
        layer.Linear(24, CLASSES),
        neuron.IFNode(v_reset=None),
    )
    functional.set_step_mode(net, "m")
    return subject(net, (24,), net[6], 1.6)


def conv(batchnorm: bool = False) -> Subject:
    """Single-step, called step by step by us (with BatchNorm: multi-step); both pools."""

    def norm(channels: int) -> list[nn.Module]:
        return [layer.BatchNorm2d(channels)] if batchnorm else []

    net = nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, bias=not batchnorm),
        *norm(8),
        neuron.IFNode(v_threshold=1.5),
        layer.MaxPool2d(2),
        layer.Conv2d(8, 12, 3, padding=1),
        *norm(12),
        neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=None),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.3),
        layer.Linear(48, CLASSES),
        neuron.IFNode(v_reset=None),
    )
    functional.set_step_mode(net, "m" if batchnorm else "s")
    return subject(net, (2, 8, 8), net[-2], 1.6 if batchnorm else 1.2, None if batchnorm else stepped(net))


class Block(nn.Module):
    """SEW ADD: spikes of a convolution with BatchNorm, plus what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = layer.SeqToANNContainer(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.sn = neuron.IFNode(v_threshold=2.0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.sn(self.conv(x))
        out += x
        return out


class Sew(nn.Module):
    """Two blocks, a max-pool over the sum, and an average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = layer.Conv2d(2, 8, 3, padding=1, bias=False), layer.BatchNorm2d(8)
        self.sn = neuron.IFNode()
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.pool, self.average = layer.MaxPool2d(2), layer.AdaptiveAvgPool2d((2, 2))
        self.readout, self.out = layer.Linear(32, CLASSES), neuron.IFNode(v_reset=None)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.sn(self.bn(self.conv(x))))
        return self.out(self.readout(torch.flatten(self.average(self.pool(x)), 2)))


def residual() -> Subject:
    net = Sew()
    return subject(net, (2, 8, 8), net.readout, 1.6)


class Recurrent(nn.Module):
    """Both recurrent containers, and a loop that forward closes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0 = layer.Linear(24, 24)
        self.loop = layer.ElementWiseRecurrentContainer(neuron.LIFNode(tau=2.0), lambda old, new: 0.3 * old + new)
        self.dense = layer.LinearRecurrentContainer(neuron.LIFNode(tau=2.0), 24, 24, bias=True)
        self.fc1, self.back, self.sn = layer.Linear(24, 20), nn.Linear(20, 20), neuron.LIFNode(tau=2.0, v_reset=None)
        self.readout, self.out = layer.Linear(20, CLASSES), neuron.IFNode(v_reset=None)

    def forward(self, x: Tensor) -> Tensor:
        spikes, found = torch.zeros(x.shape[1], 20), []
        for step in x:
            spikes = self.sn(self.fc1(self.dense(self.loop(self.fc0(step)))) + self.back(spikes))
            found.append(self.out(self.readout(spikes)))
        return torch.stack(found)


def recurrent() -> Subject:
    net = Recurrent()
    found = subject(net, (24,), net.readout, 2.6)
    with torch.no_grad():
        net.back.weight.sub_(net.back.weight.mean()).mul_(0.3)
        net.dense.rc.weight[:, 24:].sub_(net.dense.rc.weight[:, 24:].mean()).mul_(0.3)
    return found


def cubalif() -> Subject:
    net = nn.Sequential(
        layer.Linear(24, 32),
        neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75),
        layer.Linear(32, 24),
        neuron.CUBALIFNode(c_decay=0.3, v_decay=0.8, v_reset=None, v_threshold=2.0),
        layer.Linear(24, CLASSES),
        neuron.IFNode(v_reset=None),
    )
    functional.set_step_mode(net, "m")
    return subject(net, (24,), net[4], 0.7)


MATRIX = {
    "mlp": mlp,
    "conv": conv,
    "residual": residual,
    "recurrent": recurrent,
    **({"cubalif": cubalif} if CUBA else {}),
    "batchnorm": lambda: conv(batchnorm=True),
}


@pytest.mark.parametrize("cell", MATRIX)
def test_spikes_and_predictions_are_those_of_spikingjelly(cell: str) -> None:
    check(cell, MATRIX[cell]())


def test_what_the_framework_has_not() -> None:
    with pytest.raises((AssertionError, TypeError, RuntimeError)):
        neuron.LIFNode(tau=torch.linspace(2.0, 3.0, 5), v_threshold=torch.linspace(0.5, 1.0, 5))
    absent("per-neuron", "neurons take one tau and one threshold for a layer")
    if not CUBA:
        absent("cubalif", "this version has no CUBALIFNode")


def test_the_module_is_left_as_it_was() -> None:
    check_left_alone(MATRIX["mlp"])


LAYERS: dict[str, Callable[[], Any]] = {
    "IFNode": neuron.IFNode,
    "IFNode, soft reset": lambda: neuron.IFNode(v_reset=None),
    "IFNode, v_reset": lambda: neuron.IFNode(v_reset=-0.5),
    "LIFNode": lambda: neuron.LIFNode(tau=2.0, v_threshold=0.5),
    "LIFNode, soft reset": lambda: neuron.LIFNode(tau=3.0, v_reset=None, v_threshold=0.3),
    "LIFNode, plain input": lambda: neuron.LIFNode(tau=3.0, decay_input=False),
    "LIFNode, v_reset": lambda: neuron.LIFNode(tau=3.0, v_reset=-0.3, v_threshold=0.3),
    "LIFNode, plain input, v_reset": lambda: neuron.LIFNode(tau=3.0, decay_input=False, v_reset=0.1),
    "LIFNode, detached reset": lambda: neuron.LIFNode(tau=2.0, detach_reset=True, v_threshold=0.5),
    "ParametricLIFNode": lambda: neuron.ParametricLIFNode(init_tau=2.5, v_threshold=0.5),
    "ParametricLIFNode, plain input": lambda: neuron.ParametricLIFNode(init_tau=2.5, decay_input=False),
}
if CUBA:
    LAYERS |= {
        "CUBALIFNode": lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.7),
        "CUBALIFNode, soft reset": lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.7, v_reset=None),
        "CUBALIFNode without leak": lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=1.0),
    }


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_node(name: str, mode: str) -> None:
    part = LAYERS[name]()
    net = nn.Sequential(layer.Linear(5, 5, bias=False), part)
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(5))
    functional.set_step_mode(net, mode)
    source = snnhw.load_module(net, torch.rand(30, 4, 5))
    x = np.random.default_rng(1).standard_normal((16, 30, 5)) * 0.8 + 0.3
    found = check_import(source, x)
    assert (found.samples, found.different, found.excepted) == (16, 0, 0), found
    assert source.replay is not None
    assert 0.02 < source.replay(x)["1"].mean() < 0.9
    keep("layers", **{name: node_names(ADAPTER.cell(part, (5,), OUT, DT, "1"))})


class Repeated(nn.Module):
    """A static image, repeated inside forward, and the mean over time outside of the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.sn = layer.Conv2d(1, 4, 3, padding=1), neuron.LIFNode(tau=2.0, decay_input=False)
        self.fc = layer.Linear(256, CLASSES)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        sequence = x.unsqueeze(0).repeat(6, 1, 1, 1, 1)
        return self.fc(torch.flatten(self.sn(self.conv(sequence)), start_dim=2)).mean(0)


def test_an_image_that_forward_repeats() -> None:
    torch.manual_seed(0)
    net = Repeated()
    source = snnhw.load_module(net, torch.rand(3, 1, 8, 8))
    assert (source.deployment.steps, source.deployment.encoding, source.deployment.readout) == (6, "direct", "mean")
    x = np.random.default_rng(0).random((8, 1, 8, 8))
    with torch.no_grad():
        want = net(torch.from_numpy(x).float()).numpy()
    functional.reset_net(net)
    assert np.allclose(snnhw.run_float(source, x)["output"].mean(1), want, atol=1e-4)


def model_module(name: str) -> Any:
    """A module of the framework's own models; these import torchvision, of which they use nothing here."""
    for part in ("torchvision", "torchvision.models", "torchvision.models.utils", "torchvision.transforms"):
        sys.modules.setdefault(part, Stub(part))
    return importlib.import_module(f"spikingjelly.activation_based.model.{name}")


class Stub(types.ModuleType):
    """Has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


def test_sew_resnet_18_of_the_framework_itself() -> None:
    torch.manual_seed(0)
    net = model_module("sew_resnet").sew_resnet18(
        spiking_neuron=neuron.IFNode, cnf="ADD", num_classes=10, surrogate_function=surrogate.ATan(), detach_reset=True
    )
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.05, 0.2)
    functional.set_step_mode(net, "m")
    source = snnhw.load_module(net, torch.rand(3, 1, 3, 32, 32))
    x = np.random.default_rng(0).random((2, 3, 3, 32, 32))
    found = check_import(source, x)
    assert found.samples == 2
    assert found.different == 0
    assert "silent" not in found.detail
    assert sum(isinstance(node, nir.IF) for node in source.graph.nodes.values()) == 20
    with torch.no_grad():
        want = net.eval()(torch.from_numpy(x).float().transpose(0, 1)).transpose(0, 1).numpy()
    functional.reset_net(net)
    assert np.allclose(run_graph(source, x)["output"], want, atol=1e-3)


REFUSED: dict[str, Callable[[], Any]] = {
    "QIFNode has no form on a core": neuron.QIFNode,
    "EIFNode has no form on a core": neuron.EIFNode,
    "IzhikevichNode has no form on a core": neuron.IzhikevichNode,
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_the_layer_and_what_it_is(text: str) -> None:
    net = nn.Sequential(layer.Linear(5, 5), REFUSED[text]())
    with pytest.raises(SourceError) as caught:
        snnhw.load_module(net, torch.rand(4, 2, 5))
    assert caught.value.code == "unsupported-neuron"
    assert f"SpikingJelly: {text}" in caught.value.message
    assert caught.value.where == "1"
    assert caught.value.hint
    keep("refused", **{text: caught.value.hint})


def test_a_membrane_is_no_output() -> None:
    with pytest.raises(SourceError, match="a membrane that resets is read"):
        ADAPTER.cell(neuron.IFNode(), (5,), MEMBRANE, DT, "1")


class OwnStep(neuron.IFNode):
    def single_step_forward(self, x: Tensor) -> Tensor:
        return (x >= 0.5).float()


def test_changed_neurons_are_refused_or_read_as_they_are() -> None:
    for node, text in (
        (OwnStep(), "OwnStep has a single_step_forward of its own: its equation is not known"),
        (neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)), "its spike function gives other values"),
    ):
        with pytest.raises(SourceError, match=text) as caught:
            ADAPTER.cell(node, (5,), OUT, DT, "1")
        assert caught.value.code == "unsupported-neuron"
    first = neuron.LIFNode(tau=2.0)
    first.set_reset_value("v", 0.7)
    above = neuron.ParametricLIFNode(v_reset=None, surrogate_function=lambda v: (v > 0).float())
    net = nn.Sequential(layer.Linear(5, 5), first, layer.Linear(5, 5), above)
    randomise(net, 1.6)
    source = snnhw.load_module(net, torch.rand(4, 2, 5))
    found = check_import(source, np.random.default_rng(0).random((4, 10, 5)) * 3)
    assert (found.samples, found.different) == (4, 0)
    assert "silent" not in found.detail
    assert source.semantics.at("1").v_init == 0.7
    assert source.semantics.at("3").threshold is Comparison.GT


class Ended(nn.Module):
    """Two layers, the last of which is read in some way."""

    def __init__(self, last: nn.Module, end: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.a, self.n, self.b, self.o = layer.Linear(16, 24), neuron.IFNode(), layer.Linear(24, 6), last
        self.end, self.fc, self.votes = end, nn.Linear(6, 3), layer.VotingLayer(2)
        functional.set_step_mode(self, "m")
        nn.init.normal_(self.a.weight, 0.1, 0.4)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.end(self, self.o(self.b(self.n(self.a(x)))))


READOUTS: dict[str, tuple[nn.Module, Callable[[Any, Any], Any], str]] = {
    "votes": (neuron.LIFNode(tau=2.0), lambda m, s: m.votes(s), "rate"),
    "linear behind the mean": (neuron.IFNode(), lambda m, s: m.fc(s.mean(0)), "mean"),
    "v of an infinite threshold": (neuron.LIFNode(2.0, v_threshold=float("inf")), lambda m, s: m.o.v, "membrane-last"),
    "v of an integrator": (neuron.IFNode(v_threshold=float("inf")), lambda m, s: m.o.v, "membrane-last"),
    "v of a neuron that resets": (neuron.LIFNode(2.0), lambda m, s: m.o.v, "membrane-last"),
    "v_seq": (neuron.LIFNode(2.0, store_v_seq=True), lambda m, s: m.o.v_seq.mean(0), "membrane-mean"),
}


@pytest.mark.parametrize("name", READOUTS)
def test_readouts(name: str) -> None:
    torch.manual_seed(0)
    last, end, readout = READOUTS[name]
    module, x = Ended(last, end), (torch.rand(STEPS, 4, 16) < 0.4).float()
    source = snnhw.load_module(module, x)
    assert source.deployment.readout == readout
    functional.reset_net(module)
    want = module(x).detach().numpy()
    want = want.sum(0) if want.ndim == 3 else want
    values = snnhw.run_float(source, x.numpy().swapaxes(0, 1))["values"]
    np.testing.assert_allclose(values, want, atol=1e-4)


DECODES = {None: "membrane", "max-mem": "membrane-max", "mean-mem": "membrane-mean", "last_mem": "membrane-last"}


@pytest.mark.skipif(not hasattr(neuron, "NonSpikingLIFNode"), reason="this release has none")
@pytest.mark.parametrize("decode", DECODES)
def test_nodes_that_never_spike(decode: str | None) -> None:
    torch.manual_seed(0)
    end = (lambda m, v: torch.stack(v)) if decode is None else (lambda m, v: v)
    module, x = Ended(neuron.NonSpikingLIFNode(2.0, decode), end), (torch.rand(STEPS, 4, 16) < 0.4).float()
    source = snnhw.load_module(module, x)
    assert source.deployment.readout == DECODES[decode]
    functional.reset_net(module)
    want = module(x).detach().numpy()
    values = snnhw.run_float(source, x.numpy().swapaxes(0, 1))["values"]
    np.testing.assert_allclose(values, want.sum(0) if decode is None else want, atol=1e-4)


@pytest.mark.skipif(not hasattr(neuron, "NonSpikingLIFNode"), reason="this release has none")
def test_a_decoding_that_is_no_readout() -> None:
    module = Ended(neuron.NonSpikingLIFNode(2.0, "max-abs-mem"), lambda m, v: v)
    with pytest.raises(SourceError, match="unsupported-neuron: SpikingJelly: decode max-abs-mem is no readout"):
        snnhw.load_module(module, torch.rand(STEPS, 4, 16))
